"""Reads metadata values from a mapped GGUF file, forward, checking every number against the file before using it.

A string is a u64 length and that many bytes. String arrays, which hold vocabularies of some 100,000 entries, stay in
the file: only the place of each string is noted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union, overload

import numpy as np
import numpy.typing as npt

from axiom.errors import ModelFormatError
from axiom.gguf_types import ValueType

__all__ = ["DAMAGED", "U32", "U64", "Cursor", "MetadataValue", "StringArray", "format_error"]

DAMAGED = "the file is damaged or incomplete; fetch it again or compare its checksum"

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
    """An array of byte strings that stay in the file: string `i` is `raw[starts[i] : starts[i] + lengths[i]]`.

    `raw` is read-only uint8, `starts` and `lengths` are int64, all ready to hand to native code without a copy.
    """

    __slots__ = ("lengths", "raw", "starts")

    def __init__(self, raw: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]):
        """Take the parts as they are; `GGUFFile` has checked that every string lies inside `raw`."""
        self.raw = raw
        self.starts = starts
        self.lengths = lengths

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """Return string `index`, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start = int(self.starts[index])
        return self.raw[start : start + int(self.lengths[index])].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the strings in order."""
        view = self.raw.data
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield view[start : start + length].tobytes()

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
MetadataValue = Union[int, float, bool, str, bytes, "npt.NDArray[Any]", StringArray]


def format_error(
    path: Path, offset: int | None, what: str, expected: str, got: str, remedy: str = DAMAGED
) -> ModelFormatError:
    """Make the error for one unsound place: which file, which byte, what, expected, got, and what to do."""
    where = path.name if offset is None else f"{path.name}, byte {offset}"
    return ModelFormatError(f"{where}: {what}: expected {expected}, got {got}; {remedy}")


class Cursor:
    """Reads forward through the mapped file; every read is checked against its end."""

    def __init__(self, path: Path, raw: npt.NDArray[np.uint8]):
        """Stand at the first byte of `raw`, the mapped file."""
        self.path = path
        self.raw = raw
        self.view = raw.data
        self.n_bytes = len(raw)
        self.pos = 0

    def error(self, what: str, expected: str, got: str, remedy: str = DAMAGED) -> ModelFormatError:
        """Make the error for the place where the cursor stands."""
        return format_error(self.path, self.pos, what, expected, got, remedy)

    def need(self, n: int, what: str) -> None:
        """Check that `n` more bytes are there."""
        left = self.n_bytes - self.pos
        if n > left:
            raise self.error(what, f"{n} more bytes", f"{left} before the end of the file")

    def scalar(self, kind: struct.Struct, what: str) -> Any:
        """Read one number."""
        self.need(kind.size, what)
        (value,) = kind.unpack_from(self.view, self.pos)
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
        value = self.view[self.pos : self.pos + n].tobytes()
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
            flag = int(self.raw[self.pos])
            if flag > 1:
                raise self.error(f"value of {key!r}", "a bool, 0 or 1", str(flag))
            self.pos += 1
            return bool(flag)
        value: int | float = self.scalar(_SCALARS[kind], f"value of {key!r}")
        return value

    def array(self, key: str) -> MetadataValue:
        """Read an array: numbers as a read-only numpy array, strings as a `StringArray`."""
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
        dtype = "|u1" if kind is ValueType.BOOL else "<" + _SCALARS[kind].format[-1]
        # Copied, so that items are aligned and the array does not keep the file mapped.
        items: npt.NDArray[Any] = np.frombuffer(self.view, dtype=dtype, count=n, offset=self.pos).copy()
        if kind is ValueType.BOOL:
            if n and int(items.max()) > 1:
                raise self.error(f"array {key!r}", "bools, each 0 or 1", str(int(items.max())))
            items = items.astype(np.bool_)
        items.setflags(write=False)
        self.pos += n * item_bytes
        return items

    def string_array(self, key: str, n: int) -> StringArray:
        """Note where each of `n` strings lies.

        A length must be read to know where the next one is, so this is a chain of `n` steps; the loop holds nothing
        but the read and the sum. A length that leads out of the file makes the next read fail, or the last check.
        """
        begin = self.pos
        starts = [0] * n
        pos, n_bytes, view, read = begin, self.n_bytes, self.view, U64.unpack_from
        i = 0
        try:
            for i in range(n):
                starts[i] = pos
                pos += 8 + read(view, pos)[0]
            sound = pos <= n_bytes
        except (struct.error, OverflowError):
            sound = False
        if not sound:
            # Where the length of string i cannot be read, the string before it led out of the file.
            i -= starts[i] > n_bytes
            self.pos = starts[i]
            expected = f"an end inside the file of {n_bytes} bytes"
            raise self.error(f"string {i} of array {key!r}", expected, f"byte {pos}")
        first = np.array([*starts, pos], dtype=np.int64) - begin
        self.pos = pos
        return StringArray(self.raw[begin:pos], first[:-1] + 8, first[1:] - first[:-1] - 8)
