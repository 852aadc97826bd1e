"""The table of tokens, checked once when it is built.

Everything a model file says about its vocabulary is a claim until `Vocab` has accepted it. After that every look-up is
total: ids are below `n_vocab`, lengths agree, scores are finite, no two tokens have the same text.

An empty token text is allowed, since padded vocabularies hold them: such a token can be fed to a model and decodes to
nothing, and no text is ever encoded to it.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from axiom.reference.text.byte_level import byte_decoded
from axiom.reference.text.source import KEY_TOKENS, KEY_TYPES, VocabSource, check_length, quoted, unsupported, wrong

# More tokens than any model has; an id then fits 24 bits.
_MAX_TOKENS = 1 << 24

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
KIND_NAMES = {1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte"}
# The kinds that can come from text without being asked for by name.
TEXT_KINDS = (NORMAL, USER_DEFINED)


class Vocab:
    """The checked table of tokens."""

    def __init__(self, source: VocabSource):
        """Check the tokens and their kinds."""
        if source.model not in ("gpt2", "llama"):
            raise unsupported("tokenizer.ggml.model", quoted(source.model.encode()), '"gpt2", "llama"')
        self.model = source.model
        self.texts = source.tokens
        """The text of each token as the file writes it."""
        self.n_vocab = len(self.texts)
        if not 1 <= self.n_vocab < _MAX_TOKENS:
            raise wrong(KEY_TOKENS, None, f"from 1 to {_MAX_TOKENS - 1} tokens", self.n_vocab)
        self.kinds = self._checked_kinds(source.types)
        self.ids: dict[bytes, int] = {}
        """Text to token."""
        for index, text in enumerate(self.texts):
            if text:
                first = self.ids.setdefault(text, index)
                if first != index:
                    raise wrong(KEY_TOKENS, index, "each token once", f"{quoted(text)} again, after index {first}")
        self.pieces = [self._piece(id) for id in range(self.n_vocab)]
        """The bytes that each token stands for."""

    def _checked_kinds(self, types: npt.NDArray[Any] | None) -> list[int]:
        if types is None:
            return [NORMAL] * self.n_vocab
        check_length(KEY_TYPES, len(types), self.n_vocab)
        kinds: list[int] = types.tolist()
        for index, kind in enumerate(kinds):
            if not 0 <= kind <= BYTE:
                raise wrong(KEY_TYPES, index, "a token type from 0 to 6", kind)
        return [kind or UNUSED for kind in kinds]

    def _piece(self, id: int) -> bytes:
        text, kind = self.texts[id], self.kinds[id]
        if kind == BYTE:
            byte = _byte_of_text(text)
            if byte is None:
                raise wrong(KEY_TOKENS, id, 'a byte token such as "<0x0A>"', quoted(text))
            return bytes([byte])
        if kind == NORMAL and self.model == "llama":
            return text.replace("\u2581".encode(), b" ")
        if kind == NORMAL:
            decoded = byte_decoded(text)
            return text if decoded is None else decoded
        return text

    def find(self, text: bytes) -> int | None:
        """Return the token of any kind with this text."""
        return self.ids.get(text)

    def find_text(self, text: bytes) -> int | None:
        """Return the token with this text, of those that text can become."""
        id = self.ids.get(text)
        return id if id is not None and self.kinds[id] in TEXT_KINDS else None


def _byte_of_text(text: bytes) -> int | None:
    digits = b"0123456789abcdefABCDEF"
    if len(text) != 6 or text[:3] != b"<0x" or text[5:] != b">" or text[3] not in digits or text[4] not in digits:
        return None
    return int(text[3:5], 16)
