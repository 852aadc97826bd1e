"""The vocabulary: SentencePiece-style byte-pair pieces with byte fallback, trained and applied in plain Python.

Training is the classic byte-pair procedure over words (Sennrich et al., 2016): join the most frequent pair of
neighbours, again and again. A piece's score is minus its rank, so the encoder, which like llama.cpp's joins the
neighbours whose union scores highest, leftmost first on a tie, repeats the joins in the order in which they were
learned. A piece never mixes letters with other marks and holds a space, written as the low block U+2581, only at its
start: that is why words can be encoded one by one and cached.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

SPACE = "▁"
UNKNOWN, BOS, EOS = 0, 1, 2
N_SPECIAL = 3
N_BYTE = 256
# llama.cpp's token types: normal, unknown, control, byte.
NORMAL, UNKNOWN_TYPE, CONTROL, BYTE = 1, 2, 3, 6

_WORD = re.compile(r"▁?[A-Za-z]+|▁?[^A-Za-z▁\s]+|▁|\s")


class Vocabulary:
    """Pieces with scores and types, in the order of their ids, and the encoder over them."""

    def __init__(self, pieces: list[str]) -> None:
        """Take the learned pieces, best first; specials and bytes go in front of them."""
        self.tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(N_BYTE)), *pieces]
        self.scores = [0.0] * (N_SPECIAL + N_BYTE) + [-float(rank) for rank in range(len(pieces))]
        self.types = [UNKNOWN_TYPE, CONTROL, CONTROL] + [BYTE] * N_BYTE + [NORMAL] * len(pieces)
        self.ids = {piece: N_SPECIAL + N_BYTE + rank for rank, piece in enumerate(pieces)}
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Encode text without specials, with the space in front that the `llama` tokenizer adds."""
        out: list[int] = []
        for word in _WORD.findall(SPACE + text.replace(" ", SPACE)):
            if word not in self._cache:
                self._cache[word] = self._encode_word(word)
            out += self._cache[word]
        return out

    def decode(self, tokens: Iterable[int]) -> str:
        """Turn tokens into text; specials vanish and the space in front is dropped."""
        raw = b"".join(
            bytes([token - N_SPECIAL]) if token < N_SPECIAL + N_BYTE else self.tokens[token].encode()
            for token in tokens
            if token >= N_SPECIAL
        )
        return raw.decode("utf-8", "replace").replace(SPACE, " ").removeprefix(" ")

    def _encode_word(self, word: str) -> list[int]:
        symbols = list(word)
        while True:
            best = None
            for idx in range(len(symbols) - 1):
                joined = self.ids.get(symbols[idx] + symbols[idx + 1])
                if joined is not None and (best is None or joined < best[0]):
                    best = joined, idx
            if best is None:
                break
            symbols[best[1] : best[1] + 2] = [symbols[best[1]] + symbols[best[1] + 1]]
        out: list[int] = []
        for symbol in symbols:
            if symbol in self.ids:
                out.append(self.ids[symbol])
            else:
                out += [N_SPECIAL + byte for byte in symbol.encode()]
        return out


def train(texts: Iterable[str], n_vocab: int) -> Vocabulary:
    """Learn a vocabulary of `n_vocab` tokens from texts; the same texts give the same vocabulary.

    All printable ASCII marks get a piece even where the texts lack them, after the learned ones.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(SPACE + text.replace(" ", SPACE)))
    words = [list(word) for word in counts if not word.isspace()]
    weights = [counts["".join(word)] for word in words]
    marks = sorted({SPACE, *(chr(code) for code in range(0x21, 0x7F)), *(mark for word in words for mark in word)})
    n_join = n_vocab - N_SPECIAL - N_BYTE - len(marks)

    pairs: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], set[int]] = {}
    for idx, word in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += weights[idx]
            where.setdefault(pair, set()).add(idx)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    pieces: list[str] = []
    known: set[str] = set(marks)
    while len(pieces) < n_join and heap:
        count, pair = heapq.heappop(heap)
        if -count != pairs[pair]:  # an older count: the present one is in the heap too, or the pair is gone
            continue
        piece = pair[0] + pair[1]
        if piece not in known:  # two pairs may spell one piece; its rank is that of the first
            known.add(piece)
            pieces.append(piece)
        changed: set[tuple[str, str]] = set()
        for idx in sorted(where.pop(pair)):
            word = words[idx]
            for old in pairwise(word):
                pairs[old] -= weights[idx]
                changed.add(old)
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == pair:
                    word[at : at + 2] = [piece]
                at += 1
            for new in pairwise(word):
                pairs[new] += weights[idx]
                where.setdefault(new, set()).add(idx)
                changed.add(new)
        del pairs[pair]
        for other in changed - {pair}:
            if pairs[other] > 0:
                heapq.heappush(heap, (-pairs[other], other))
    return Vocabulary(pieces + marks)
