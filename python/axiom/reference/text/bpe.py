"""Byte-level BPE: the bytes of a word are joined, pair by pair, in the order of the list of merges.

Source: Sennrich et al. 2016, over bytes as in GPT-2. The merge that stands earliest in the list goes first, and of its
occurrences the leftmost. A pair listed twice has the rank of its first place.

Some vocabularies lack bytes that occur in rare characters only. Such a byte is left out of the tokens, as the models'
own tokenizers leave it out.
"""

from __future__ import annotations

from axiom.reference.text.byte_level import written
from axiom.reference.text.merge import Symbol, merge
from axiom.reference.text.source import KEY_MERGES, quoted, wrong
from axiom.reference.text.vocab import TEXT_KINDS, Vocab


class Bpe:
    """The merges and the byte tokens."""

    def __init__(self, vocab: Vocab, merges: list[bytes] | None, ignore_merges: bool):
        """Check the merges: each names two tokens, and the two together are a token.

        A merge into a control or unknown token is left out, so that no text spells one.
        """
        if merges is None:
            raise wrong(KEY_MERGES, None, "a list of merges", "none")
        self.pairs: dict[tuple[int, int], tuple[int, int]] = {}
        """Pair of tokens to its rank and the token it becomes."""
        for rank, text in enumerate(merges):
            # The first part may itself begin with a space, in vocabularies that are not byte-level throughout.
            at = text.find(b" ", 1)
            first, second = text[:at], text[at + 1 :]
            if at < 0 or not second:
                raise wrong(KEY_MERGES, rank, "two tokens with a space between", quoted(text))
            left, right, joined = vocab.find(first), vocab.find(second), vocab.find(first + second)
            if left is None or right is None or joined is None:
                raise wrong(KEY_MERGES, rank, "two tokens that together are a token", quoted(text))
            if vocab.kinds[joined] in TEXT_KINDS:
                self.pairs.setdefault((left, right), (rank, joined))
        found = {byte: vocab.find_text(written(bytes([byte]))) for byte in range(256)}
        self.byte_ids = {byte: id for byte, id in found.items() if id is not None}
        self.vocab = vocab
        self.ignore_merges = ignore_merges
        """Take a word that is a token whole, even where no merges lead to it."""

    def encode(self, word: bytes) -> list[int]:
        """Return the tokens of one word."""
        if self.ignore_merges:
            whole = self.vocab.find_text(written(word))
            if whole is not None:
                return [whole]
        symbols = [Symbol(self.byte_ids[byte], at, at + 1) for at, byte in enumerate(word) if byte in self.byte_ids]
        left_over = merge(symbols, lambda left, right: self.pairs.get((left.id, right.id)))  # type: ignore[arg-type]
        return [symbol.id for symbol in left_over if symbol.id is not None]
