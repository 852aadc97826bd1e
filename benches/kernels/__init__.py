"""The products of every weight format by themselves, timed by pytest-benchmark.

pip install "axiom[bench]"
python -m pytest benches/kernels --benchmark-columns=min,median,max
"""
