"""o200k (GPT-4o, gpt-oss, Llama 4), and with other numbers Tekken (Mistral NeMo and later).

With `X = [^\\r\\n\\p{L}\\p{N}]`, `U = [\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]`, `D = [\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]` and
`C = (?i:'s|'t|'re|'ve|'m|'ll|'d)`:

    X?U*D+C?|X?U+D*C?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+

Source: tokenizer.json of gpt-oss-20b. Tekken, source tokenizer.json of Mistral-Nemo-Base-2407, has no `C` and has
`\\p{N}` for `\\p{N}{1,3}`. The classes are the originals: an approximation by `[^a-z]` and `[^A-Z]`, which some engines
use, cuts words with accents, marks and modifier letters elsewhere.
"""

from __future__ import annotations

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import (
    LETTER,
    LOWER,
    MARK,
    MODIFIER,
    NUMBER,
    SPACE,
    TITLE,
    UNCASED,
    UPPER,
)

BOTH = MODIFIER | UNCASED | MARK
U = UPPER | TITLE | BOTH
D = LOWER | BOTH


def find(text: str, at: int, contractions: bool, n_digits_max: int) -> tuple[int, int] | None:
    """Return the piece that begins at `at`; every character belongs to one."""
    if at == len(text):
        return None
    first = scan.class_at(text, at)
    # `X?` takes the first character where it can, and gives it back where the branch fails with it.
    leads = not first & (LETTER | NUMBER) and text[at] not in "\r\n"
    starts = (at + 1, at) if leads else (at,)
    for branch in (_ends_low, _ends_high):
        for start in starts:
            end = branch(text, start)
            if end is not None:
                return at, (scan.contraction(text, end, fold=True) if contractions else None) or end
    if first & NUMBER:
        return at, scan.run_of(text, at, NUMBER, n_digits_max)
    body = at + 1 if text[at] == " " else at
    end = scan.run_outside(text, body, SPACE | LETTER | NUMBER)
    if end > body:
        return at, scan.run(text, end, lambda c: c in "\r\n/")
    return at, scan.line_breaks(text, at) or scan.white_space(text, at)


def _ends_low(text: str, at: int) -> int | None:
    """`U*D+`. Where no `D` follows the run of `U`, the expression gives back characters until one of them is a `D` too;
    what it gave back beyond that one is upper or title case, so `D+` is that single character.
    """
    upper_end = scan.run_of(text, at, U)
    end = scan.run_of(text, upper_end, D)
    if end > upper_end:
        return end
    for last in range(upper_end - 1, at - 1, -1):
        if scan.class_at(text, last) & BOTH:
            return last + 1
    return None


def _ends_high(text: str, at: int) -> int | None:
    """`U+D*`."""
    upper_end = scan.run_of(text, at, U)
    return scan.run_of(text, upper_end, D) if upper_end > at else None
