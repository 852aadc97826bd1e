"""What the scanners are made of: runs of characters of a class, from a place in the text.

A scanner answers as a backtracking regular expression would, and takes time linear in what it reads.
"""

from __future__ import annotations

from collections.abc import Callable

from axiom.reference.text.unicode import SPACE, char_class


def class_at(text: str, at: int) -> int:
    """Return the class of the character at `at`, 0 at the end of the text."""
    return char_class(text[at]) if at < len(text) else 0


def run(text: str, at: int, wanted: Callable[[str], bool]) -> int:
    """Return where the characters from `at` on cease to satisfy `wanted`."""
    while at < len(text) and wanted(text[at]):
        at += 1
    return at


def run_of(text: str, at: int, classes: int, n_max: int | None = None) -> int:
    """`[…]*` of the classes, or `[…]{0,n_max}`."""
    stop = len(text) if n_max is None else min(len(text), at + n_max)
    while at < stop and char_class(text[at]) & classes:
        at += 1
    return at


def run_outside(text: str, at: int, classes: int) -> int:
    """`[^…]*` of the classes."""
    while at < len(text) and not char_class(text[at]) & classes:
        at += 1
    return at


def line_breaks(text: str, at: int) -> int | None:
    """`\\s*[\\r\\n]+`: to the last line break in the white space, if there is one."""
    end = run_of(text, at, SPACE)
    last = max(text.rfind("\r", at, end), text.rfind("\n", at, end))
    return last + 1 if last >= 0 else None


def white_space(text: str, at: int) -> int:
    """`\\s+(?!\\S)|\\s+`: white space up to the end of the text, or without its last character, which goes to the word
    after it; a single one stays. `at` must be at white space.
    """
    end = run_of(text, at, SPACE)
    return end if end == len(text) or end == at + 1 else end - 1


def contraction(text: str, at: int, fold: bool) -> int | None:
    """`'s|'t|'re|'ve|'m|'ll|'d`, and with `fold` the same in any case.

    Case folding makes an `s` of U+017F, the long s, too. No other letter outside ASCII folds to one of these.
    """
    if text[at : at + 1] != "'":
        return None
    letters = text[at + 1 : at + 3]
    if fold:
        letters = "".join("s" if c == "\u017f" else c.lower() if c.isascii() else c for c in letters)
    if letters[:1] in ("s", "t", "m", "d"):
        return at + 2
    return at + 3 if letters in ("re", "ve", "ll") else None
