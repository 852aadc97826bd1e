"""The character classes that pre-tokenizers tell apart.

A class is a bit, so that a regular expression's bracket is one mask: `[\\p{L}\\p{N}]` is `LETTER | NUMBER`, and its
complement is "has none of these bits". The version is pinned in `unicode_tables`; unassigned code points are `OTHER`.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache

from axiom.reference.text.unicode_tables import RUNS

OTHER = 1
UPPER = 1 << 1
LOWER = 1 << 2
TITLE = 1 << 3
MODIFIER = 1 << 4
UNCASED = 1 << 5
MARK = 1 << 6
NUMBER = 1 << 7
PUNCTUATION = 1 << 8
SYMBOL = 1 << 9
SEPARATOR = 1 << 10
SPACE = 1 << 11
"""The property `White_Space`, in addition to the general category."""
LETTER = UPPER | LOWER | TITLE | MODIFIER | UNCASED

WHITE_SPACE = frozenset(
    "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
)


@lru_cache(maxsize=1 << 16)
def char_class(c: str) -> int:
    """Return the bits of one character: one bit for its general category, and `SPACE` if it is white space."""
    run = bisect_right(RUNS, ord(c) << 4 | 15) - 1
    category = 1 << (RUNS[run] & 15)
    return category | SPACE if c in WHITE_SPACE else category
