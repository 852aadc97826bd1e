"""The bare body's times, beside the native body's on the same machine and in the same minutes.

python -m benches.bare compute|streaming|balance|jitter|start --help
"""
