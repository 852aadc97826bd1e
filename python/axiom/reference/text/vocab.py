"""The table of tokens, checked once when it is built.

Everything a model file says about its vocabulary is a claim until `Vocab` has accepted it. After that every look-up is
total: ids are below `n_vocab`, lengths agree, scores are finite, no two tokens have the same text.

An empty token text is allowed, since padded vocabularies hold them: such a token can be fed to a model and decodes to
nothing, and no text is ever encoded to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from axiom.errors import ModelFormatError, UnsupportedModelError
from axiom.reference.text.byte_level import byte_decoded

KEY_TOKENS = "tokenizer.ggml.tokens"
KEY_TYPES = "tokenizer.ggml.token_type"
KEY_SCORES = "tokenizer.ggml.scores"
KEY_MERGES = "tokenizer.ggml.merges"

# More tokens than any model has; an id then fits 24 bits.
_MAX_TOKENS = 1 << 24

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
KIND_NAMES = {1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte"}
# The kinds that can come from text without being asked for by name.
TEXT_KINDS = (NORMAL, USER_DEFINED)


def wrong(key: str, index: int | None, expected: str, got: object) -> ModelFormatError:
    """Return the error for a value that cannot be true."""
    where = key if index is None else f"{key}[{index}]"
    remedy = "the file is damaged or was converted wrongly, convert it again"
    return ModelFormatError(f"{where}: expected {expected}, got {got}; {remedy}")


def unsupported(key: str, got: str, supported: str) -> UnsupportedModelError:
    """Return the error for a tokenizer that is not among those built in."""
    return UnsupportedModelError(f"{key}: {got} is not supported; supported are {supported}")


def quoted(raw: bytes) -> str:
    """Show bytes from a file in a message: the beginning, quoted, what is not printable ASCII escaped."""
    shown = "".join(chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\x{b:02x}" for b in raw[:40])
    return f'"{shown}"' + ("…" if len(raw) > 40 else "")


class Vocab:
    """The checked table of tokens."""

    def __init__(self, metadata: Mapping[str, Any]):
        """Check the tokens and their kinds."""
        model = text_at(metadata, "tokenizer.ggml.model")
        if model is None:
            raise wrong("tokenizer.ggml.model", None, "the name of a tokenizer", "no such key")
        texts = strings_at(metadata, KEY_TOKENS)
        if texts is None:
            raise wrong(KEY_TOKENS, None, "an array of strings", "no such key")
        if model not in ("gpt2", "llama"):
            raise unsupported("tokenizer.ggml.model", quoted(model.encode()), '"gpt2", "llama"')
        self.model: str = model
        self.texts = texts
        """The text of each token as the file writes it."""
        self.n_vocab = len(self.texts)
        if not 1 <= self.n_vocab < _MAX_TOKENS:
            raise wrong(KEY_TOKENS, None, f"from 1 to {_MAX_TOKENS - 1} tokens", self.n_vocab)
        self.kinds = self._checked_kinds(numbers_at(metadata, KEY_TYPES, "iu"))
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


def check_length(key: str, got: int, n_vocab: int) -> None:
    """Check that an array has one entry for each token."""
    if got != n_vocab:
        raise wrong(key, None, f"{n_vocab} entries, one for each token", got)


def _byte_of_text(text: bytes) -> int | None:
    digits = b"0123456789abcdefABCDEF"
    if len(text) != 6 or text[:3] != b"<0x" or text[5:] != b">" or text[3] not in digits or text[4] not in digits:
        return None
    return int(text[3:5], 16)


# --- Values of the metadata dictionary, each checked for its type.


def text_at(metadata: Mapping[str, Any], key: str) -> str | None:
    """Return a string; bytes count where they are UTF-8."""
    value = metadata.get(key)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    elif value is None or isinstance(value, str):
        return value
    raise wrong(key, None, "a string", type(value).__name__)


def flag_at(metadata: Mapping[str, Any], key: str) -> bool | None:
    """Return true or false."""
    value = metadata.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong(key, None, "a bool", type(value).__name__)
    return value


def integer_at(metadata: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number."""
    value = metadata.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise wrong(key, None, "an integer", type(value).__name__)
    return value


def numbers_at(metadata: Mapping[str, Any], key: str, kinds: str) -> npt.NDArray[Any] | None:
    """Return an array of numbers whose numpy kind is one of `kinds`."""
    value = metadata.get(key)
    if value is None:
        return None
    expected = "an array of numbers" if "f" in kinds else "an array of integers"
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise wrong(key, None, expected, type(value).__name__) from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        raise wrong(key, None, expected, type(value).__name__)
    return array


def strings_at(metadata: Mapping[str, Any], key: str) -> list[bytes] | None:
    """Return an array of byte strings."""
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong(key, None, "an array of strings", type(value).__name__)
    texts = []
    for index, item in enumerate(value):
        try:
            texts.append(item if isinstance(item, bytes) else item.encode())
        except (AttributeError, UnicodeEncodeError):
            raise wrong(key, index, "a string", type(item).__name__) from None
    return texts
