"""Measurements of speed. `python -m benches.peers --help` and `python -m benches.shapes --help` are the ways in."""
