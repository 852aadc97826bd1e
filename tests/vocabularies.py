"""Small vocabularies of any size from 259 up, complete enough to encode every text.

Pieces beyond the bytes are grown by joining two earlier pieces, so that each can be reached by merges.
"""

from __future__ import annotations

import string

import gguf
import numpy as np

N_VOCAB_MIN = 259
_ALPHABET = string.ascii_lowercase + " " + string.ascii_uppercase + string.digits + ".,!?'\"-:;()éñßдж日本語🙂"


def _grow(seeds: list[str], known: set[str], n: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """`n` new pairs whose joins are new pieces. Early pieces are likelier, as in a trained vocabulary."""
    pieces, pairs = list(seeds), []
    while len(pairs) < n:
        left, right = (pieces[int(len(pieces) * rng.random() ** 2)] for _ in range(2))
        joined = left + right
        if joined not in known and len(joined) <= 12:
            known.add(joined)
            pieces.append(joined)
            pairs.append((left, right))
    return pairs


def _check(n_vocab: int, kind: str) -> None:
    if n_vocab < N_VOCAB_MIN:
        raise ValueError(
            f"a {kind} vocabulary needs at least {N_VOCAB_MIN} tokens, got n_vocab={n_vocab}; use tokenizer='none'"
        )


def add_spm(writer: gguf.GGUFWriter, n_vocab: int, seed: int) -> None:
    """SentencePiece-BPE with byte fallback, laid out as Llama 2's: unknown, begin, end, 256 bytes, pieces."""
    _check(n_vocab, "SentencePiece")
    rng = np.random.default_rng([seed, 1])
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    types = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    singles = [c.replace(" ", "\u2581") for c in dict.fromkeys(_ALPHABET)][: n_vocab - len(tokens)]
    n_joined = n_vocab - len(tokens) - len(singles)
    joined = [left + right for left, right in _grow(singles, set(singles), n_joined, rng)] if n_joined else []
    # A SentencePiece-BPE score is minus the rank of the merge; characters come after every merge.
    scores = (
        [0.0] * len(tokens) + [-float(n_joined + i) for i in range(len(singles))] + [-float(i) for i in range(n_joined)]
    )
    tokens += singles + joined
    types += [gguf.TokenType.NORMAL] * (n_vocab - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def byte_letters() -> list[str]:
    """GPT-2's printable letter for each of the 256 byte values."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in printable]
    letter = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(hidden)}
    return [letter[b] for b in range(256)]


def add_bpe(writer: gguf.GGUFWriter, n_vocab: int, seed: int, pre: str) -> None:
    """Byte-level BPE: 256 letters, merges, and two control tokens at the end as in GPT-2's descendants."""
    _check(n_vocab, "byte-level BPE")
    rng = np.random.default_rng([seed, 2])
    letters = byte_letters()
    space = letters[0x20]
    seeds = [space if c == " " else c for c in dict.fromkeys(_ALPHABET) if c.isascii() and c != '"']
    pairs = _grow(seeds, set(letters), n_vocab - 258, rng)
    tokens = [*letters, *(left + right for left, right in pairs), "<|begin|>", "<|end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (n_vocab - 2) + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges([f"{left} {right}" for left, right in pairs])
    writer.add_bos_token_id(n_vocab - 2)
    writer.add_eos_token_id(n_vocab - 1)
    writer.add_add_bos_token(False)
