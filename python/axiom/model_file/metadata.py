"""Typed and checked access to the metadata of one model."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping

from axiom.errors import ModelFormatError, UnsupportedModelError
from axiom.model_file.gguf_cursor import MetadataValue

__all__ = ["Metadata", "shown"]

# Formats of a `memoryview` of integers.
_INTEGERS = frozenset("bBhHiIqQ")


class Metadata:
    """Reads values under a common prefix, such as "llama.", and says file, key, expected and got when one is wrong."""

    def __init__(self, values: Mapping[str, MetadataValue], file_name: str, prefix: str):
        """Read from `values`; `file_name` is for messages."""
        self._values = values
        self._file_name = file_name
        self._prefix = prefix

    def error(self, key: str, expected: str, got: str) -> ModelFormatError:
        """Make the error for a value that cannot be true."""
        return ModelFormatError(
            f"{self._file_name}: {self._prefix}{key}: expected {expected}, got {got}; "
            "the metadata are damaged: convert the model again"
        )

    def unsupported(self, key: str, expected: str, got: str) -> UnsupportedModelError:
        """Make the error for a value that asks for something not computed here."""
        return UnsupportedModelError(
            f"{self._file_name}: {self._prefix}{key}: expected {expected}, got {got}; "
            "the engine would have to ignore it: use another model, or a later version of axiom"
        )

    def items(self) -> Iterator[tuple[str, MetadataValue]]:
        """Yield the keys under the prefix, without it, and their values."""
        n = len(self._prefix)
        return ((key[n:], value) for key, value in self._values.items() if key.startswith(self._prefix))

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a string."""
        value = self._get(key, default, "a string")
        if not isinstance(value, str):
            raise self.error(key, "a string in UTF-8", _kind(value))
        return value

    def count(
        self, key: str, *, default: int | None = None, least: int = 1, most: int = 1 << 31, per_layer: int = 0
    ) -> int:
        """Return an integer from `least` to `most`.

        With `per_layer`, the file may give one number for each of that many layers; they must all be equal.
        """
        value = self._get(key, default, "an integer")
        if per_layer and isinstance(value, memoryview) and value.format in _INTEGERS:
            if len(value) != per_layer:
                raise self.error(key, f"one number or {per_layer} of them", f"{len(value)} numbers")
            if len(set(value.tolist())) > 1:
                raise self.unsupported(key, "the same number in every layer", str(sorted(set(value.tolist()))[:8]))
            value = int(value[0])
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "an integer", _kind(value))
        if not least <= value <= most:
            raise self.error(key, f"a number from {least} to {most}", str(value))
        return value

    def number(self, key: str, *, default: float | None = None, least: float | None = None) -> float:
        """Return a finite f32 number, widened: above 0, or from `least` if given."""
        value = self._get(key, default, "a number")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "a number", _kind(value))
        try:
            number: float = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or (number < least if least is not None else number <= 0):
            raise self.error(
                key, "a finite number above 0" if least is None else f"a finite number from {least:g}", str(value)
            )
        return number

    def _get(self, key: str, default: MetadataValue | None, expected: str) -> MetadataValue:
        value = self._values.get(self._prefix + key, default)
        if value is None:
            raise self.error(key, expected, "no such key")
        return value


def shown(value: MetadataValue) -> str:
    """Show the beginning of a value, for a message."""
    if isinstance(value, memoryview):
        return f"{len(value)} items, {value[:8].tolist()}"
    return repr(value)[:60]


def _kind(value: MetadataValue) -> str:
    kind = "array of" if isinstance(value, memoryview) else type(value).__name__
    return f"{kind} {shown(value)}"
