"""Llama 3, and with other numbers Qwen 2 and its descendants.

    (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*
    |\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+

Source: tokenizer.json of Meta-Llama-3-8B. Qwen 2 has `\\p{N}` for `\\p{N}{1,3}`; Qwen 3.5 moreover has
`[\\p{L}\\p{M}]` for the second `\\p{L}` of the letters' branch and adds `\\p{M}` to the classes that the fourth branch
leaves out.
"""

from __future__ import annotations

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import NUMBER, SPACE


def find(text: str, at: int, word: int, n_digits_max: int) -> tuple[int, int] | None:
    """Return the piece that begins at `at`; every character belongs to one.

    `word` is `LETTER`, or `LETTER | MARK` for Qwen 3.5.
    """
    if at == len(text):
        return None
    end = scan.contraction(text, at, fold=True)
    if end is not None:
        return at, end
    first = scan.class_at(text, at)
    if first & word:
        return at, scan.run_of(text, at, word)
    if first & NUMBER:
        return at, scan.run_of(text, at, NUMBER, n_digits_max)
    # What is left is neither letter nor number, so unless it breaks the line it may lead a word.
    if scan.class_at(text, at + 1) & word and text[at] not in "\r\n":
        return at, scan.run_of(text, at + 1, word)
    body = at + 1 if text[at] == " " else at
    end = scan.run_outside(text, body, SPACE | NUMBER | word)
    if end > body:
        return at, scan.run(text, end, lambda c: c in "\r\n")
    return at, scan.line_breaks(text, at) or scan.white_space(text, at)
