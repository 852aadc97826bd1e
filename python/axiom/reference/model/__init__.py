"""The model, top to bottom: read weights.py, then forward.py, and follow the calls.

`weights` is what the file holds, with the shape of each tensor; `forward` is one pass over all sequences; `layer` is
one layer of it; `norm`, `rope`, `attention` and `feed_forward` are its parts. Sections of docs/arithmetic.md are named
where they are computed.
"""
