"""Texts that tokenizers find hard, from a seed."""

# ruff: noqa: RUF001, SIM905

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator

_SPACES = " \t\n\v\f\r\x85\xa0\u1680\u2000\u2003\u2009\u2028\u2029\u202f\u205f\u3000"

# Each alphabet is a list of atoms; a text draws from a few of them, so that what belongs together meets.
ALPHABETS: tuple[tuple[str, ...], ...] = (
    tuple("abcdefghijklmnopqrstuvwxyz"),
    tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    tuple("the of and Hello WORLD iPhone McDonald's don't can't I'LL you've THEY'RE it's".split()),
    tuple("0123456789"),
    ("12", "345", "2024", "1000000", "3.14"),
    (" ",),
    (" ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t"),
    tuple(_SPACES),
    tuple("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'vE", "'M", "'Ll", "'D", "'l", "'r", "'v", "'"),
    ("'\u017f", "'\u212a", "\u2019s", "'\u0131", "'\ufb05", "'\u1e9e", "''s", "'re\u0301"),
    ("...", "!!!", "?!", "--", "//", "/\n", "://", "{}\n\n", "();\r\n", "=>", "</s>", "<|x|>"),
    tuple("中文字符日本語漢字龥鿿㐀𠀀"),
    tuple("ひらがなカタカナーｶﾞ゠ヿ"),
    tuple("한국어가힣ㄱㆎ퟿"),
    tuple("。、「」！？：；，～（）　。…—‘’‚‛“”„‟"),
    ("👍", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "🇩🇪", "🇫", "👋🏽", "✨", "©", "\u200d", "\ufe0f"),
    ("e\u0301", "\u0301", "\u0308", "a\u0300\u0301", "\u093f", "\u0e33", "\u20e3", "1\u20e3", "\u0345"),
    tuple("٠١٢٣۴۵०१२๓๔𝟘𝟙²³¹¼½¾Ⅷⅻↂ〇①㊿፩𐄇"),
    tuple("ΑΩαωςПриветмнёЁџԱաႠაᲐᎠꭰᏽ"),
    tuple("ǅǈǋǲᾈᾼ"),
    tuple("ʰʷˈˑͺᵃᵸⁱₐꟸｰ"),
    tuple("ßẞıİſKÅﬀﬆµªº"),
    tuple("ابتثںہھءआइउकखกขคअআ"),
    tuple("שלוםאבג"),
    ("\x00", "\x01", "\x1b", "\x7f", "\x80", "\x9f", "\xad", "\u200b", "\u200e", "\u2060", "\ufeff", "\ufff9"),
    ("\u0378", "\u05ff", "\ufdd0", "\uffff", "\U0001ffff", "\U0010ffff", "\ue000", "\U000f0000", "\U000e0001"),
    ("\ud7ff", "\ue000", "\u07ff", "\u0800", "\uffff", "\U00010000", "\x7f", "\x80"),
    ("\u2581", "\u2581\u2581", "\u0120", "\u010a", "<0x0A>", "<s>", "<unk>"),
)


def characters_of_every_category() -> dict[str, list[str]]:
    """All assigned code points that this Python knows, by general category."""
    found: dict[str, list[str]] = {}
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            found.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    return found


def texts(seed: int, n: int, extra: tuple[str, ...] = (), without: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield `n` texts. `extra` is one more alphabet, `without` are characters that no text has."""
    rng = random.Random(seed)
    categories = list(characters_of_every_category().values())
    alphabets = ALPHABETS + ((extra,) if extra else ())
    while n > 0:
        mix = [rng.choice(alphabets) for _ in range(rng.randint(1, 4))]
        atoms = []
        for _ in range(rng.choice((1, 2, 3, 5, 8, 13, 21, 34))):
            kind = rng.random()
            if kind < 0.9:
                atoms.append(rng.choice(rng.choice(mix)))
            elif kind < 0.97:
                atoms.append(rng.choice(rng.choice(categories)))
            else:
                code = rng.randrange(0x110000 - 0x800)
                atoms.append(chr(code if code < 0xD800 else code + 0x800))
        text = "".join(atoms)
        if without.isdisjoint(text):
            n -= 1
            yield text
