"""Small vocabularies as the metadata of a model file, for the tokenizers of both bodies."""

from __future__ import annotations

import random
from typing import Any

from axiom.reference.text.byte_level import CHAR_OF_BYTE, written

_WORDS = (
    "the of and hello world don't 'll HELLO World straße привет мир мне 中文 日本語 かな 한국 é ñ 1 12 123 ½ ² .. !! "
    "\n\n \r\n"
)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def bpe_metadata(pre: str = "gpt-2", seed: int = 0, n_merges: int = 600) -> dict[str, Any]:
    """Byte-level BPE with merges that favour the words above, and tokens of every kind at the end."""
    rng = random.Random(seed)
    tokens = list(CHAR_OF_BYTE)
    merges: list[str] = []
    seeds = [written((" " * rng.randint(0, 1) + word).encode()).decode() for word in _WORDS.split(" ")]
    seeds += [written(space.encode()).decode() for space in ("  ", "    ", " \n", "\t\t", "\r\n")]
    known = set(tokens)
    pieces = {word: list(word) for word in seeds}
    while len(merges) < n_merges:
        symbols = rng.choice(list(pieces.values())) if rng.random() < 0.8 else [rng.choice(tokens), rng.choice(tokens)]
        if len(symbols) < 2:
            continue
        at = rng.randrange(len(symbols) - 1)
        left, right = symbols[at], symbols[at + 1]
        if left + right in known or len(left + right) > 24:
            if symbols in pieces.values() and left + right in known:
                symbols[at : at + 2] = [left + right]
            continue
        merges.append(f"{left} {right}")
        tokens.append(left + right)
        known.add(left + right)
        symbols[at : at + 2] = [left + right]
    special = {
        "<|endoftext|>": CONTROL,
        "<|im_start|>": CONTROL,
        "<|im_end|>": CONTROL,
        "<|im_end|>x": CONTROL,
        "<tool>": USER_DEFINED,
        "<tool> ": USER_DEFINED,
        "   ": USER_DEFINED,
        "<pad 0>": UNUSED,
        "<unknown>": UNKNOWN,
        "é中": NORMAL,
        "": NORMAL,
    }
    types = [NORMAL] * len(tokens) + list(special.values())
    tokens += special
    return {
        "general.name": "tiny",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [token.encode() for token in tokens],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [merge.encode() for merge in merges],
        "tokenizer.ggml.bos_token_id": tokens.index("<|endoftext|>"),
        "tokenizer.ggml.eos_token_id": tokens.index("<|endoftext|>"),
    }


def spm_metadata(seed: int = 0, byte_fallback: bool = True, n_pieces: int = 600) -> dict[str, Any]:
    """SentencePiece-BPE; scores repeat, so that ties are frequent."""
    rng = random.Random(seed)
    tokens = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL, "<tool>": USER_DEFINED, "<pad>": UNUSED}
    if byte_fallback:
        tokens.update((f"<0x{byte:02X}>", BYTE) for byte in range(256))
    scores = [0.0] * len(tokens)
    text = _WORDS.replace(" ", "\u2581") + "\u2581\u2581\u2581\u2581" + "abcdefghijklmnopqrstuvwxyz<0x0A>s/"
    while len(tokens) < n_pieces:
        start = rng.randrange(len(text))
        piece = text[start : start + rng.choice((1, 1, 2, 2, 3, 4, 6))]
        if piece not in tokens:
            tokens[piece] = NORMAL
            scores.append(float(rng.randrange(-50, 50)))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [token.encode() for token in tokens],
        "tokenizer.ggml.token_type": list(tokens.values()),
        "tokenizer.ggml.scores": scores,
    }
