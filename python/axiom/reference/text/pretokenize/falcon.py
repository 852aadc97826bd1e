"""Falcon: runs of punctuation, then the expression of GPT-2, then numbers, then groups of three ASCII digits.

Source: tokenizer.json of falcon-7b: `Punctuation` (contiguous), `ByteLevel`, `Digits` (contiguous), `[0-9][0-9][0-9]`.
The last two come after `ByteLevel`, so they see one character for each *byte* of the text, and six bytes beyond ASCII
are written as characters that count as numbers: the Cyrillic м, D0 BC, is cut before its BC, which is written ¼.
"""

from __future__ import annotations

import re
import string

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import PUNCTUATION, char_class

_BYTE_NUMBERS = re.compile(rb"[0-9\xB2\xB3\xB9\xBC\xBD\xBE]+")
_THREE_DIGITS = re.compile(rb"[0-9][0-9][0-9]")


def punctuation(text: str, at: int) -> tuple[int, int] | None:
    """Return the first run of punctuation at or after `at`; all signs of ASCII count."""

    def wanted(c: str) -> bool:
        return c in string.punctuation or bool(char_class(c) & PUNCTUATION)

    start = scan.run(text, at, lambda c: not wanted(c))
    return None if start == len(text) else (start, scan.run(text, start, wanted))


def byte_numbers(raw: bytes, at: int) -> tuple[int, int] | None:
    """Return the first run of bytes that are written as numbers: digits, ², ³, ¹, ¼, ½ and ¾."""
    found = _BYTE_NUMBERS.search(raw, at)
    return found.span() if found else None


def three_digits(raw: bytes, at: int) -> tuple[int, int] | None:
    """`[0-9][0-9][0-9]`."""
    found = _THREE_DIGITS.search(raw, at)
    return found.span() if found else None
