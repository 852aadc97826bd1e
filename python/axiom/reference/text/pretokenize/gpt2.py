"""GPT-2.

    's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

Source: `ByteLevel` of Hugging Face `tokenizers` with `use_regex`, after encoder.py of GPT-2.
"""

from __future__ import annotations

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import LETTER, NUMBER, SPACE


def find(text: str, at: int) -> tuple[int, int] | None:
    """Return the piece that begins at `at`; every character belongs to one."""
    if at == len(text):
        return None
    end = scan.contraction(text, at, fold=False)
    if end is not None:
        return at, end
    body = at + 1 if text[at] == " " else at
    kind = scan.class_at(text, body)
    if kind & LETTER:
        return at, scan.run_of(text, body, LETTER)
    if kind & NUMBER:
        return at, scan.run_of(text, body, NUMBER)
    if kind and not kind & SPACE:
        return at, scan.run_outside(text, body, SPACE | LETTER | NUMBER)
    return at, scan.white_space(text, at)
