"""Reads metadata values from a GGUF file, forward, checking every number against the file before using it.

A string is a u64 length and that many bytes. String arrays, which hold vocabularies of some 100,000 entries, are taken
as the bytes that they are, and arrays of numbers as typed views of theirs: no object is made for an entry.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

from axiom.errors import ModelFormatError
from axiom.model_file.gguf_types import ValueType
from axiom.model_file.open_file import OpenFile

__all__ = ["DAMAGED", "U32", "U64", "Cursor", "MetadataValue", "StringArray", "format_error"]

DAMAGED = "the file is damaged or incomplete; fetch it again or compare its checksum"

_LEAST_READ_BYTES = 1 << 20

# Bounds far above any real model, so that a hostile count is refused before any work is done for it.
_MAX_NAME_BYTES = 1 << 16
_MAX_STRING_BYTES = 1 << 26
_MAX_ARRAY_ITEMS = 1 << 26
_MAX_STRINGS = 1 << 24

_SCALARS: dict[ValueType, struct.Struct] = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.UINT64: struct.Struct("<Q"),
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}
U32 = _SCALARS[ValueType.UINT32]
U64 = _SCALARS[ValueType.UINT64]


class StringArray(Sequence[bytes]):
    """An array of byte strings as the file has it: `raw` holds, for each, a u64 length and its bytes."""

    def __init__(self, raw: bytes, n: int):
        """Take the bytes of `n` strings; `Cursor` has checked that they are sound."""
        self.raw = raw
        self._n = n

    @functools.cached_property
    def _starts(self) -> list[int]:
        """Where the bytes of each string begin. Looked for when a string is first asked for."""
        starts, pos = [], 0
        for _ in range(self._n):
            starts.append(pos + U64.size)
            pos += U64.size + U64.unpack_from(self.raw, pos)[0]
        return starts

    def __len__(self) -> int:
        """Return the number of strings."""
        return self._n

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return string `index`, or a list of them for a slice."""
        starts = self._starts[index]
        return self._at(starts) if isinstance(starts, int) else [self._at(start) for start in starts]

    def __iter__(self) -> Iterator[bytes]:
        """Yield the strings in order."""
        return map(self._at, self._starts)

    def _at(self, start: int) -> bytes:
        return self.raw[start : start + U64.unpack_from(self.raw, start - U64.size)[0]]

    def __eq__(self, other: object) -> bool:
        """Compare with any sequence of bytes, item by item."""
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the length and the first strings."""
        head = ", ".join(repr(s) for s in self[:3])
        return f"StringArray({len(self)}: {head}{', …' if len(self) > 3 else ''})"


# A string that is not UTF-8 stays bytes: the format asks for UTF-8, but a stray description is no reason to refuse.
MetadataValue: TypeAlias = int | float | bool | str | bytes | memoryview | StringArray


def format_error(
    path: Path, offset: int | None, what: str, expected: str, got: str, remedy: str = DAMAGED
) -> ModelFormatError:
    """Make the error for one unsound place: which file, which byte, what, expected, got, and what to do."""
    where = path.name if offset is None else f"{path.name}, byte {offset}"
    return ModelFormatError(f"{where}: {what}: expected {expected}, got {got}; {remedy}")


class Cursor:
    """Reads forward through a file; every read is checked against its end."""

    def __init__(self, path: Path, data: bytes, file: OpenFile | None = None):
        """Stand at the first byte of `data`: all there is, or the beginning of `file`, which is read as needed."""
        self.path = path
        self.data = data
        self.n_bytes = len(data) if file is None else file.n_bytes
        self.pos = 0
        self._file = file

    def error(self, what: str, expected: str, got: str, remedy: str = DAMAGED) -> ModelFormatError:
        """Make the error for the place where the cursor stands."""
        return format_error(self.path, self.pos, what, expected, got, remedy)

    def need(self, n: int, what: str) -> None:
        """Check that `n` more bytes are there."""
        end = self.pos + n
        if end > self.n_bytes:
            raise self.error(what, f"{n} more bytes", f"{self.n_bytes - self.pos} before the end of the file")
        if end > len(self.data):
            self._read_to(end)

    def _read_to(self, end: int) -> None:
        """Have the bytes up to `end`, which are in the file, and some more, so that there are few reads."""
        assert self._file is not None
        begin = len(self.data)
        end = min(self.n_bytes, max(end, 2 * begin, _LEAST_READ_BYTES))
        self.data += self._file.read(begin, end - begin)

    def scalar(self, kind: struct.Struct, what: str) -> Any:
        """Read one number."""
        self.need(kind.size, what)
        (value,) = kind.unpack_from(self.data, self.pos)
        self.pos += kind.size
        return value

    def string(self, what: str, limit: int) -> bytes:
        """Read a string of at most `limit` bytes."""
        start = self.pos
        n: int = self.scalar(U64, f"length of {what}")
        if n > limit:
            self.pos = start
            raise self.error(f"length of {what}", f"at most {limit} bytes", str(n))
        self.need(n, what)
        value = self.data[self.pos : self.pos + n]
        self.pos += n
        return value

    def name(self, what: str) -> str:
        """Read a string that must be UTF-8."""
        start = self.pos
        raw = self.string(what, _MAX_NAME_BYTES)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.pos = start
            raise self.error(what, "UTF-8", repr(raw[:40])) from None

    def value_type(self, what: str) -> ValueType:
        """Read the type of a value."""
        start = self.pos
        code: int = self.scalar(U32, what)
        try:
            return ValueType(code)
        except ValueError:
            self.pos = start
            raise self.error(what, "a value type from 0 to 12", str(code)) from None

    def value(self, key: str) -> MetadataValue:
        """Read the value of `key`, its type first."""
        kind = self.value_type(f"value type of {key!r}")
        if kind is ValueType.STRING:
            raw = self.string(f"value of {key!r}", _MAX_STRING_BYTES)
            try:
                return raw.decode("utf-8")
            except UnicodeDecodeError:
                return raw
        if kind is ValueType.ARRAY:
            return self.array(key)
        if kind is ValueType.BOOL:
            self.need(1, f"value of {key!r}")
            flag = self.data[self.pos]
            if flag > 1:
                raise self.error(f"value of {key!r}", "a bool, 0 or 1", str(flag))
            self.pos += 1
            return bool(flag)
        value: int | float = self.scalar(_SCALARS[kind], f"value of {key!r}")
        return value

    def array(self, key: str) -> MetadataValue:
        """Read an array: numbers as a read-only `memoryview` of their type, strings as a `StringArray`."""
        kind = self.value_type(f"item type of array {key!r}")
        start = self.pos
        n: int = self.scalar(U64, f"length of array {key!r}")
        if kind is ValueType.ARRAY:
            raise self.error(f"array {key!r}", "items that are numbers or strings", "arrays inside an array")
        item_bytes = 8 if kind is ValueType.STRING else 1 if kind is ValueType.BOOL else _SCALARS[kind].size
        most = _MAX_STRINGS if kind is ValueType.STRING else _MAX_ARRAY_ITEMS
        limit = min(most, (self.n_bytes - self.pos) // item_bytes)
        if n > limit:
            self.pos = start
            raise self.error(f"length of array {key!r}", f"at most {limit} items in the rest of the file", str(n))
        if kind is ValueType.STRING:
            return self.string_array(key, n)
        self.need(n * item_bytes, f"array {key!r}")
        # Copied, so that items are aligned and the array does not keep all else.
        items = self.data[self.pos : self.pos + n * item_bytes]
        if kind is ValueType.BOOL and max(items, default=0) > 1:
            raise self.error(f"array {key!r}", "bools, each 0 or 1", str(max(items)))
        self.pos += n * item_bytes
        letter: Any = "?" if kind is ValueType.BOOL else _SCALARS[kind].format[-1]
        typed: memoryview = memoryview(items).cast(letter)
        return typed

    def string_array(self, key: str, n: int) -> StringArray:
        """Take the bytes of `n` strings as they are, after passing over them to see that they lie inside the file."""
        try:
            from axiom._native import skip_strings  # not before a file has such an array: loading it takes a while
        except ImportError:
            skip_strings = _skip_strings
        begin, n_passed = self.pos, 0
        while True:
            n_more, self.pos = skip_strings(self.data, self.pos, n - n_passed, self.n_bytes)
            n_passed += n_more
            if n_passed == n:
                break
            what = f"string {n_passed} of array {key!r}"
            self.need(U64.size, f"length of {what}")
            end = self.pos + U64.size + U64.unpack_from(self.data, self.pos)[0]
            if end > self.n_bytes:
                raise self.error(what, f"an end inside the file of {self.n_bytes} bytes", f"byte {end}")
        if self.pos > len(self.data):
            self._read_to(self.pos)
        return StringArray(self.data[begin : self.pos], n)


def _skip_strings(data: bytes, start: int, n: int, n_bytes: int) -> tuple[int, int]:
    """Do as `axiom._native.skip_strings` does, where there is no extension."""
    pos = start
    for n_passed in range(n):
        if pos + U64.size > len(data):
            return n_passed, pos
        end = pos + U64.size + U64.unpack_from(data, pos)[0]
        if end > n_bytes:
            return n_passed, pos
        pos = end
    return n, pos
