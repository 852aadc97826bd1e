"""`Digits` and `\\p{N}{1,3}`: numbers cut out of the text, one digit or up to three at a time.

Source: `Digits` of Hugging Face `tokenizers` with `individual_digits`, and the first step of DeepSeek V3.
"""

from __future__ import annotations

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import NUMBER


def find(text: str, at: int, n_max: int) -> tuple[int, int] | None:
    """Return the first group of at most `n_max` numbers at or after `at`."""
    start = scan.run_outside(text, at, NUMBER)
    return None if start == len(text) else (start, scan.run_of(text, start, NUMBER, n_max))
