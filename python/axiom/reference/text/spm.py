"""SentencePiece-BPE: characters are joined, pair by pair, to the token with the highest score.

Source: SentencePiece (Kudo and Richardson 2018; `bpe_model.cc`). Spaces are written U+2581. Of two pairs with the same
score the left one goes first. What ends as no token is written as its UTF-8 bytes, one byte token each, and as the
unknown token where a byte has none.

Only normal and user-defined tokens are made by joining, so no text spells a control or a byte token. Left out: the
normalisation maps of SentencePiece models, which models of this kind do not use.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from axiom.reference.text.merge import Symbol, merge
from axiom.reference.text.source import KEY_SCORES, check_length, wrong
from axiom.reference.text.vocab import BYTE, Vocab


class Spm:
    """The scores and the byte tokens."""

    def __init__(self, vocab: Vocab, scores: npt.NDArray[Any] | None, unk: int | None):
        """Check the scores and find the byte tokens."""
        if scores is None:
            raise wrong(KEY_SCORES, None, "a score for each token", "none")
        check_length(KEY_SCORES, len(scores), vocab.n_vocab)
        with np.errstate(over="ignore"):
            self.scores: list[float] = scores.astype(np.float32).tolist()
        for index, score in enumerate(self.scores):
            if not math.isfinite(score):
                raise wrong(KEY_SCORES, index, "a finite score", {math.inf: "inf", -math.inf: "-inf"}.get(score, "NaN"))
        self.vocab = vocab
        self.unk = unk
        self.byte_ids = {vocab.pieces[id][0]: id for id in range(vocab.n_vocab) if vocab.kinds[id] == BYTE}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text`, in which spaces are escaped already."""
        raw = text.encode()
        symbols, start = [], 0
        for c in text:
            end = start + len(c.encode())
            symbols.append(Symbol(self.vocab.find_text(raw[start:end]), start, end))
            start = end

        def join(left: Symbol, right: Symbol) -> tuple[float, int] | None:
            id = self.vocab.find_text(raw[left.start : right.end])
            return None if id is None else (-self.scores[id], id)

        ids: list[int] = []
        for symbol in merge(symbols, join):
            if symbol.id is not None:
                ids.append(symbol.id)
            else:
                ids += map(self._byte_token, raw[symbol.start : symbol.end])
        return ids

    def _byte_token(self, byte: int) -> int:
        id = self.byte_ids.get(byte, self.unk)
        if id is None:
            raise ValueError(
                f"the vocabulary has no token for byte 0x{byte:02X} of the text, and no unknown token; remove the "
                "character or use a model whose vocabulary has it"
            )
        return id
