"""The DeepSeek vocabularies, each a sequence of expressions of which every one cuts what the one before left whole.

- LLM: `[\\r\\n]`, `\\s?[A-Za-zµÀ-Ö…]+`, `\\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\\s+$`, `[一-龥ࠀ-一가-퟿]+`, single digits.
- Coder: `[\\r\\n]`, `\\s?\\p{L}+`, `\\s?\\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, single digits.
- V3 and R1: `\\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, and the expression at `v3` below.

Source: tokenizer.json of deepseek-llm-7b-base, deepseek-coder-6.7b-base and DeepSeek-V3.
"""

# ruff: noqa: RUF001, RUF002

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Callable

import axiom.reference.text.pretokenize.scan as scan
from axiom.reference.text.unicode import LETTER, MARK, PUNCTUATION, SPACE, SYMBOL, char_class

Range = tuple[int, int]


def line_break(text: str, at: int) -> Range | None:
    """`[\\r\\n]`."""
    start = scan.run(text, at, lambda c: c not in "\r\n")
    return None if start == len(text) else (start, start + 1)


def llm_letters(text: str, at: int) -> Range | None:
    """`\\s?[A-Za-zµÀ-Ö…]+`."""
    return _spaced_run(text, at, _is_llm_letter)


def llm_punctuation(text: str, at: int) -> Range | None:
    """`\\s?[!-/:-~！-／：-～‘-‟　-。]+`."""
    ranges = (("!", "/"), (":", "~"), ("！", "／"), ("：", "～"), ("\u2018", "\u201f"), ("\u3000", "\u3002"))
    return _spaced_run(text, at, lambda c: any(first <= c <= last for first, last in ranges))


def trailing_space(text: str, at: int) -> Range | None:
    """`\\s+$`: white space at the end."""
    start = len(text)
    while start > at and char_class(text[start - 1]) & SPACE:
        start -= 1
    return None if start == len(text) else (start, len(text))


def llm_east_asian(text: str, at: int) -> Range | None:
    """`[一-龥ࠀ-一가-퟿]+`."""
    return _plain_run(text, at, lambda c: "\u0800" <= c <= "\u9fa5" or "\uac00" <= c <= "\ud7ff")


def coder_letters(text: str, at: int) -> Range | None:
    """`\\s?\\p{L}+`."""
    return _spaced_run(text, at, lambda c: bool(char_class(c) & LETTER))


def coder_punctuation(text: str, at: int) -> Range | None:
    """`\\s?\\p{P}+`."""
    return _spaced_run(text, at, lambda c: bool(char_class(c) & PUNCTUATION))


def v3_east_asian(text: str, at: int) -> Range | None:
    """`[一-龥぀-ゟ゠-ヿ]+`."""
    return _plain_run(text, at, lambda c: "\u4e00" <= c <= "\u9fa5" or "\u3040" <= c <= "\u30ff")


def v3(text: str, at: int) -> Range | None:
    """Match the third expression of V3.

        [!"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+
        | ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+

    Numbers and control characters that lead no word belong to no branch, and are passed over.
    """
    for start in range(at, len(text)):
        end = _v3_at(text, start)
        if end is not None:
            return start, end
    return None


def _v3_at(text: str, at: int) -> int | None:
    word, sign = LETTER | MARK, PUNCTUATION | SYMBOL
    first = scan.class_at(text, at)
    if text[at] in string.punctuation and text[at + 1 : at + 2] in set(string.ascii_letters):
        return scan.run(text, at + 1, lambda c: c in string.ascii_letters)
    leads = not first & (LETTER | sign) and text[at] not in "\r\n"
    if first & word or (leads and scan.class_at(text, at + 1) & word):
        return scan.run_of(text, at + 1, word)
    body = at + 1 if text[at] == " " else at
    end = scan.run_of(text, body, sign)
    if end > body:
        return scan.run(text, end, lambda c: c in "\r\n")
    if not first & SPACE:
        return None
    return scan.line_breaks(text, at) or scan.white_space(text, at)


def _plain_run(text: str, at: int, wanted: Callable[[str], bool]) -> Range | None:
    """Return the first run of `wanted` characters at or after `at`."""
    start = scan.run(text, at, lambda c: not wanted(c))
    return None if start == len(text) else (start, scan.run(text, start, wanted))


def _spaced_run(text: str, at: int, wanted: Callable[[str], bool]) -> Range | None:
    """Return the same with one white-space character before it, if there is one at or after `at`."""
    found = _plain_run(text, at, wanted)
    if found is None:
        return None
    start, end = found
    return (start - 1, end) if start > at and char_class(text[start - 1]) & SPACE else (start, end)


def _is_llm_letter(c: str) -> bool:
    after = bisect_right(LLM_LETTERS, (ord(c), 0x110000))
    return after > 0 and ord(c) <= LLM_LETTERS[after - 1][1]


# The letters that the expression lists: cased letters as of Unicode 11, one range after the other.
# fmt: off
LLM_LETTERS = (
    (0x41, 0x5A), (0x61, 0x7A), (0xB5, 0xB5), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x1BA), (0x1BC, 0x1BF),
    (0x1C4, 0x293), (0x295, 0x2AF), (0x370, 0x373), (0x376, 0x376), (0x377, 0x377), (0x37B, 0x37D),
    (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x3F5),
    (0x3F7, 0x481), (0x48A, 0x52F), (0x531, 0x556), (0x10A0, 0x10C5), (0x13A0, 0x13F5), (0x13F8, 0x13FD),
    (0x1C90, 0x1CBA), (0x1CBD, 0x1CBF), (0x1D00, 0x1D2B), (0x1D6B, 0x1D77), (0x1D79, 0x1D9A), (0x1E00, 0x1F15),
    (0x1F18, 0x1F1D), (0x1F20, 0x1F45), (0x1F48, 0x1F4D), (0x1F50, 0x1F57), (0x1F59, 0x1F59), (0x1F5B, 0x1F5B),
    (0x1F5D, 0x1F5D), (0x1F5F, 0x1F7D), (0x1F80, 0x1FB4), (0x1FB6, 0x1FBC), (0x1FBE, 0x1FBE), (0x1FC2, 0x1FC4),
    (0x1FC6, 0x1FCC), (0x1FD0, 0x1FD3), (0x1FD6, 0x1FDB), (0x1FE0, 0x1FEC), (0x1FF2, 0x1FF4), (0x1FF6, 0x1FFC),
    (0x2102, 0x2102), (0x2107, 0x2107), (0x210A, 0x2113), (0x2115, 0x2115), (0x2119, 0x211D), (0x2124, 0x2124),
    (0x2126, 0x2126), (0x2128, 0x2128), (0x212A, 0x212D), (0x212F, 0x2134), (0x2139, 0x2139), (0x213C, 0x213F),
    (0x2145, 0x2149), (0x214E, 0x214E), (0x2183, 0x2183), (0x2184, 0x2184), (0x2C00, 0x2C7B), (0x2C7E, 0x2CE4),
    (0x2CEB, 0x2CEE), (0x2CF2, 0x2CF2), (0x2CF3, 0x2CF3), (0xA640, 0xA66D), (0xA680, 0xA69B), (0xA722, 0xA76F),
    (0xA771, 0xA787), (0xA78B, 0xA78E), (0xAB70, 0xABBF), (0xFB00, 0xFB06), (0xFB13, 0xFB17), (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A), (0x10400, 0x1044F), (0x104B0, 0x104D3), (0x104D8, 0x104FB), (0x10C80, 0x10CB2),
    (0x10CC0, 0x10CF2), (0x118A0, 0x118DF), (0x1E900, 0x1E943),
)
# fmt: on
