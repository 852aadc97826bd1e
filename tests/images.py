"""What tests of images share; the fixture `packed` makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

SMALL = {"n_layer": 3, "n_embd": 256, "n_ff": 256, "n_head": 4, "n_head_kv": 2, "n_vocab": 300, "n_ctx": 96}
TOKENS = [5, 9, 250, 3, 77, 12, 1, 290]
Packed = Callable[..., tuple[Path, Path]]
"""`packed(fmt=..., ...)`: a random GGUF, and its image."""
