"""Cuts and tokens against Hugging Face `tokenizers`, built here from the original expressions.

Each pre-tokenizer is put together as its model's tokenizer.json has it, and run on 20,000 fuzzed texts; so is the whole
of encoding, with the vocabulary and merges of a real model.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Punctuation, Sequence, Split

import axiom
from axiom._native import testing
from axiom.model_file.gguf_file import GGUFFile
from axiom.reference.text import pretokenize as reference
from axiom.reference.text.byte_level import written
from axiom.reference.text.unicode import LETTER, MARK, NUMBER, PUNCTUATION, SPACE, SYMBOL, char_class
from axiom.reference.text.unicode_tables import UNICODE_VERSION
from tests.texts import texts

N_TEXTS = 20_000

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + REST
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + REST
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + REST
)
DEEPSEEK_V3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    + REST
)
# The two ends of each range, as the tokenizer.json of deepseek-llm writes them.
DEEPSEEK_LLM_LETTERS = "".join(
    chr(first) if first == last else f"{chr(first)}-{chr(last)}" for first, last in reference.deepseek.LLM_LETTERS
)
BYTES = ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = ByteLevel(add_prefix_space=False, use_regex=True)


def split(expression: str) -> PreTokenizer:
    return Split(Regex(expression), "isolated")


HUGGING_FACE: dict[str, PreTokenizer] = {
    "gpt-2": GPT2,
    "smollm": Sequence([Digits(individual_digits=True), GPT2]),
    "llama-bpe": Sequence([split(LLAMA3), BYTES]),
    "dbrx": Sequence([split(LLAMA3), BYTES]),
    "glm4": Sequence([split(LLAMA3), BYTES]),
    "qwen2": Sequence([split(QWEN2), BYTES]),
    "qwen35": Sequence([split(QWEN35), BYTES]),
    "tekken": Sequence([split(TEKKEN), BYTES]),
    "gpt-4o": Sequence([split(GPT4O), BYTES]),
    "deepseek-llm": Sequence(
        [
            split(r"[\r\n]"),
            split(rf"\s?[{DEEPSEEK_LLM_LETTERS}]+"),
            split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),  # noqa: RUF001
            split(r"\s+$"),
            split("[一-龥ࠀ-一가-\ud7ff]+"),
            Digits(individual_digits=True),
            BYTES,
        ]
    ),
    "deepseek-coder": Sequence(
        [
            split(r"[\r\n]"),
            split(r"\s?\p{L}+"),
            split(r"\s?\p{P}+"),
            split("[一-龥ࠀ-一가-\ud7ff]+"),
            Digits(individual_digits=True),
            BYTES,
        ]
    ),
    "deepseek-v3": Sequence([split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), BYTES]),  # noqa: RUF001
    "falcon": Sequence(
        [Punctuation("contiguous"), GPT2, Digits(individual_digits=False), split("[0-9][0-9][0-9]")],
    ),
}

ALL_CODE_POINTS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def members(pre: PreTokenizer) -> set[str]:
    """The characters that a step isolates, each tried between two letters."""
    pieces = pre.pre_tokenize_str("a".join(ALL_CODE_POINTS))
    return {piece for piece, _ in pieces if len(piece) == 1 and piece != "a"}


def those_of(classes: int) -> set[str]:
    return {c for c in ALL_CODE_POINTS if char_class(c) & classes}


@cache
def disputed() -> frozenset[str]:
    """What the steps `Digits` and `Punctuation` of Hugging Face see otherwise than its own regular expressions do.

    `Digits` follows the Unicode version of the Rust that built it, `Punctuation` a table from Unicode 8. Our tables are
    those of its regular expressions, so these characters can be no part of a comparison with the two steps.
    """
    ascii_symbols = set("$+<=>^`|~")
    numbers = members(Digits(individual_digits=True)) ^ those_of(NUMBER)
    punctuation = members(Punctuation("isolated")) ^ those_of(PUNCTUATION) ^ ascii_symbols
    assert len(numbers) < 50
    assert len(punctuation) < 200
    assert all(unicodedata.category(c) in ("Cn", "Nd", "Nl", "No") for c in numbers)
    return frozenset(numbers | punctuation)


@pytest.mark.parametrize(
    ("expression", "classes"),
    [
        (r"\p{L}", LETTER),
        (r"\p{M}", MARK),
        (r"\p{N}", NUMBER),
        (r"\p{P}", PUNCTUATION),
        (r"\p{S}", SYMBOL),
        (r"\s", SPACE),
        (UPPER, reference.o200k.U),
        (LOWER, reference.o200k.D),
    ],
)
def test_every_code_point_is_in_the_classes_that_the_regular_expressions_see(expression: str, classes: int) -> None:
    # What the expression does not match is removed, so that what is left are its members.
    inverse = "[^" + expression.strip("[]") + "]+"
    pieces = Split(Regex(inverse), "removed").pre_tokenize_str("".join(ALL_CODE_POINTS))
    assert set("".join(piece for piece, _ in pieces)) == those_of(classes), f"tables are of Unicode {UNICODE_VERSION}"


def test_every_family_is_compared() -> None:
    assert set(HUGGING_FACE) == {pre.name for pre in reference.PRE_TOKENIZERS}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_cuts(name: str) -> None:
    theirs = HUGGING_FACE[name]
    for text in texts(1, N_TEXTS, without=disputed()):
        expected = [piece.encode() for piece, _ in theirs.pre_tokenize_str(text)]
        assert [written(word) for word in testing.pretokenize(name, text)] == expected, ascii(text)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_cuts_of_every_contraction_before_every_character(name: str) -> None:
    theirs = HUGGING_FACE[name]
    for c in ALL_CODE_POINTS[:0x3000] + ALL_CODE_POINTS[0xF000:0x11000]:
        if c in disputed():
            continue
        text = f"a'{c} b'L{c} '{c}e x{c}\n{c}{c}1 {c}"
        expected = [piece.encode() for piece, _ in theirs.pre_tokenize_str(text)]
        assert [written(word) for word in testing.pretokenize(name, text)] == expected, ascii(text)


# Family and the vocabulary that its whole encoding is compared with; Tekken and others have none of their own there.
VOCABULARIES = {
    "gpt-2": "gpt-2",
    "smollm": "starcoder",
    "llama-bpe": "llama-bpe",
    "glm4": "llama-bpe",
    "qwen2": "qwen2",
    "qwen35": "qwen35",
    "tekken": "llama-bpe",
    "gpt-4o": "command-r",
    "deepseek-llm": "deepseek-llm",
    "deepseek-coder": "deepseek-coder",
    "deepseek-v3": "deepseek-llm",
    "dbrx": "refact",
    "falcon": "falcon",
}


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_tokens(name: str, llama_source: Path) -> None:
    folder = llama_source / "vendor" / "llama.cpp" / "models"
    gguf = GGUFFile(folder / f"ggml-vocab-{VOCABULARIES[name]}.gguf")
    gguf.metadata["tokenizer.ggml.pre"] = name
    ours = axiom.Tokenizer(gguf)
    tokens = [text.decode() for text in gguf.metadata["tokenizer.ggml.tokens"]]  # type: ignore[union-attr]
    merges = [tuple(text.decode().split(" ")) for text in gguf.metadata["tokenizer.ggml.merges"]]  # type: ignore[union-attr]
    ignore_merges = reference.by_name(name).ignore_merges
    theirs = Tokenizer(BPE({text: id for id, text in enumerate(tokens)}, merges, ignore_merges=ignore_merges))
    theirs.pre_tokenizer = HUGGING_FACE[name]
    # User-defined tokens are cut out first in both; there they are called added tokens.
    theirs.add_tokens([tokens[id] for id in range(ours.n_vocab) if ours.token_kind(id) == "user_defined"])
    for text in texts(2, N_TEXTS, without=disputed()):
        assert ours.encode(text, add_special=False) == theirs.encode(text).ids, ascii(text)
