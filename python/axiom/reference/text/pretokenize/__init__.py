"""Cutting a text into words before byte-level BPE, as `tokenizer.ggml.pre` names it.

Each pre-tokenizer is a sequence of steps. A step finds matches from left to right and cuts before and after each; what
lies between two matches stays whole (the `isolated` behaviour of Hugging Face `tokenizers`), and the next step cuts
each piece anew, seeing nothing beyond it. The steps are written by hand and equal the regular expressions in the
original tokenizer.json files, backtracking and all; `docs/tokenizers.md` lists expressions and sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from axiom.reference.text.pretokenize import deepseek, digits, falcon, gpt2, llama3, o200k
from axiom.reference.text.source import quoted, unsupported
from axiom.reference.text.unicode import LETTER, MARK

# The first match at or after a place: where it starts and ends.
TextStep = Callable[[str, int], "tuple[int, int] | None"]
ByteStep = Callable[[bytes, int], "tuple[int, int] | None"]


@dataclass(frozen=True)
class PreTokenizer:
    """One way to cut texts, under one or more names."""

    names: tuple[str, ...]
    """All values of `tokenizer.ggml.pre` that mean it; the first is the name of the family."""
    steps: tuple[TextStep, ...]
    byte_steps: tuple[ByteStep, ...] = ()
    """Steps on bytes come last, since they can cut inside a character."""
    ignore_merges: bool = False
    """Whether a word that is a token is taken whole, whatever the merges say."""
    add_bos: bool = False
    """Whether a text begins with the begin-of-text token where the file does not say."""

    @property
    def name(self) -> str:
        """The name of the family."""
        return self.names[0]


_SINGLE_DIGITS = partial(digits.find, n_max=1)
_LLAMA3 = partial(llama3.find, word=LETTER, n_digits_max=3)
_QWEN2 = partial(llama3.find, word=LETTER, n_digits_max=1)
_QWEN35 = partial(llama3.find, word=LETTER | MARK, n_digits_max=1)
_TEKKEN = partial(o200k.find, contractions=False, n_digits_max=1)
_GPT4O = partial(o200k.find, contractions=True, n_digits_max=3)

PRE_TOKENIZERS = (
    PreTokenizer(
        (
            "gpt-2",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
            "gigachat",
            "mellum",
        ),
        (gpt2.find,),
    ),
    PreTokenizer(
        ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
        (_SINGLE_DIGITS, gpt2.find),
    ),
    PreTokenizer(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        (_LLAMA3,),
        ignore_merges=True,
        add_bos=True,
    ),
    PreTokenizer(("dbrx", "smaug-bpe", "chatglm-bpe"), (_LLAMA3,)),
    PreTokenizer(("glm4", "glm5"), (_LLAMA3,), ignore_merges=True),
    PreTokenizer(
        ("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo", "solar-open", "grok-2"),
        (_QWEN2,),
    ),
    PreTokenizer(("qwen35",), (_QWEN35,)),
    PreTokenizer(("tekken",), (_TEKKEN,), ignore_merges=True, add_bos=True),
    PreTokenizer(("gpt-4o", "llama4", "kanana2", "minimax-m2"), (_GPT4O,)),
    PreTokenizer(
        ("deepseek-llm",),
        (
            deepseek.line_break,
            deepseek.llm_letters,
            deepseek.llm_punctuation,
            deepseek.trailing_space,
            deepseek.llm_east_asian,
            _SINGLE_DIGITS,
        ),
    ),
    PreTokenizer(
        ("deepseek-coder",),
        (
            deepseek.line_break,
            deepseek.coder_letters,
            deepseek.coder_punctuation,
            deepseek.llm_east_asian,
            _SINGLE_DIGITS,
        ),
    ),
    PreTokenizer(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm"),
        (partial(digits.find, n_max=3), deepseek.v3_east_asian, deepseek.v3),
    ),
    PreTokenizer(
        ("falcon",),
        (falcon.punctuation, gpt2.find),
        (falcon.byte_numbers, falcon.three_digits),
    ),
)


def by_name(name: str | None) -> PreTokenizer:
    """Return the pre-tokenizer of this name.

    A file that gives no name was made before names were, and says nothing about how its text was cut: it is refused.

    Raises `UnsupportedModelError`, which lists the names there are.
    """
    for pre in PRE_TOKENIZERS:
        if name in pre.names:
            return pre
    got = "a file without this key" if name is None else quoted(name.encode())
    raise unsupported("tokenizer.ggml.pre", got, ", ".join(f'"{name}"' for pre in PRE_TOKENIZERS for name in pre.names))


def split(pre: PreTokenizer, text: str) -> list[bytes]:
    """Cut `text` into words that together are its UTF-8."""
    pieces = [text] if text else []
    for step in pre.steps:
        pieces = [word for piece in pieces for word in _cut(piece, step)]
    words = [piece.encode() for piece in pieces]
    for byte_step in pre.byte_steps:
        words = [word for piece in words for word in _cut(piece, byte_step)]
    return words


def _cut(piece: Any, find: Callable[[Any, int], tuple[int, int] | None]) -> Iterator[Any]:
    """Yield each match of one piece, and each stretch between two."""
    at = 0
    while (found := find(piece, at)) is not None:
        start, end = found
        if start > at:
            yield piece[at:start]
        yield piece[start:end]
        at = end
    if at < len(piece):
        yield piece[at:]
