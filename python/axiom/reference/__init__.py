"""The specification: the numpy twin of axiom-core, file for file and name for name."""

from __future__ import annotations

from axiom.reference.engine import Engine
from axiom.reference.receipt import ReceiptChain
from axiom.reference.sample import Sampler
from axiom.reference.text import Tokenizer

__all__ = ["Engine", "ReceiptChain", "Sampler", "Tokenizer"]
