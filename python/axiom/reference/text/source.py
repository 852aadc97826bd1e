"""What a model file says about its tokenizer: the type of every value is checked here, before any is used, and nothing
else is. `Vocab` and the algorithms accept what it says or say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from axiom.errors import ModelFormatError, UnsupportedModelError

KEY_TOKENS = "tokenizer.ggml.tokens"
KEY_TYPES = "tokenizer.ggml.token_type"
KEY_SCORES = "tokenizer.ggml.scores"
KEY_MERGES = "tokenizer.ggml.merges"

# The roles that a file gives by id.
ROLES = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "fim_pad", "fim_rep", "fim_sep")


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


class VocabSource:
    """The keys of one file. Those that are absent are None."""

    def __init__(self, metadata: Mapping[str, Any]):
        """Check the type of each value of `metadata` that a tokenizer may want, wanted by this one or not."""
        model = _text(metadata, "tokenizer.ggml.model")
        if model is None:
            raise wrong("tokenizer.ggml.model", None, "the name of a tokenizer", "no such key")
        tokens = _strings(metadata, KEY_TOKENS)
        if tokens is None:
            raise wrong(KEY_TOKENS, None, "an array of strings", "no such key")
        self.model = model
        self.tokens = tokens
        self.pre = _text(metadata, "tokenizer.ggml.pre")
        self.name = _text(metadata, "general.name")
        """By which the Phi-3 models are known."""
        self.types = _numbers(metadata, KEY_TYPES, "iu")
        self.scores = _numbers(metadata, KEY_SCORES, "iuf")
        self.merges = _strings(metadata, KEY_MERGES)
        self.ids = {role: _integer(metadata, f"tokenizer.ggml.{role}_token_id") for role in ROLES}
        self.add_bos = _flag(metadata, "tokenizer.ggml.add_bos_token")
        self.add_eos = _flag(metadata, "tokenizer.ggml.add_eos_token")
        self.add_space_prefix = _flag(metadata, "tokenizer.ggml.add_space_prefix")


def check_length(key: str, got: int, n_vocab: int) -> None:
    """Check that an array has one entry for each token."""
    if got != n_vocab:
        raise wrong(key, None, f"{n_vocab} entries, one for each token", got)


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
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


def _flag(metadata: Mapping[str, Any], key: str) -> bool | None:
    """Return true or false."""
    value = metadata.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong(key, None, "a bool", type(value).__name__)
    return value


def _integer(metadata: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number."""
    value = metadata.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise wrong(key, None, "an integer", type(value).__name__)
    if value is not None and not -(1 << 63) <= value < 1 << 63:
        raise wrong(key, None, "an id below 2^63, or -1 for none", value)
    return value


def _numbers(metadata: Mapping[str, Any], key: str, kinds: str) -> npt.NDArray[Any] | None:
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


def _strings(metadata: Mapping[str, Any], key: str) -> list[bytes] | None:
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
