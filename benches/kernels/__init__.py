"""The products of every weight format by themselves, timed by pytest-benchmark.

pip install pytest pytest-benchmark
python -m pytest benches/kernels --benchmark-columns=min,median,max
"""
