"""The specification: the numpy twin of axiom-core, file for file and name for name."""

from __future__ import annotations

from .engine import Engine
from .receipt import ReceiptChain
from .sample import Sampler
from .text import Tokenizer

__all__ = ["Engine", "ReceiptChain", "Sampler", "Tokenizer"]
