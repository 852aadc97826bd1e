"""Single kernels and programs on the state machines, run by a bare machine: the twin of `axiom._native.testing`.

For tests that compare bodies with `==`. The functions of `Kernels` have the names and arguments of those in
`axiom.reference.testing`, after the name of a kernel table where one is used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from axiom.bare.protocol import Kind, Reader
from axiom.bare.serving import ServingMachine

__all__ = ["Kernels", "answer", "run_machine"]

_INTEGER, _REAL, _TEXT, _ARRAY = range(4)
_ELEMENTS = {"f": "<f4", "B": "u1", "b": "i1", "H": "<u2", "i": "<i4"}
_LETTERS = {np.dtype(name): letter for letter, name in _ELEMENTS.items()}


def _encoded(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        letter = _LETTERS[value.dtype]
        head = struct.pack(f"<BBB{value.ndim}I", _ARRAY, ord(letter), value.ndim, *value.shape)
        return head + np.ascontiguousarray(value).tobytes()
    if isinstance(value, str):
        text = value.encode()
        return struct.pack("<BI", _TEXT, len(text)) + text
    if isinstance(value, float):
        return struct.pack("<Bf", _REAL, value)
    return struct.pack("<BQ", _INTEGER, value)


def _decoded(reader: Reader) -> Any:
    kind = reader.u8()
    if kind == _INTEGER:
        return reader.u64()
    if kind == _REAL:
        return struct.unpack("<f", reader.take(4))[0]
    if kind == _TEXT:
        return reader.text()
    dtype = np.dtype(_ELEMENTS[chr(reader.u8())])
    shape = [reader.u32() for _ in range(reader.u8())]
    return np.frombuffer(reader.take(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


def answer(machine: ServingMachine, name: str, *arguments: Any) -> list[Any]:
    """Return what the function `name` of the core returns. Raises `ValueError` for arguments that it does not take."""
    request = b"".join((_encoded(name)[1:], struct.pack("<I", len(arguments)), *map(_encoded, arguments)))
    reader = Reader(machine.call(Kind.CONFORMANCE, request))
    return [_decoded(reader) for _ in range(reader.u32())]


class Kernels:
    """The functions of the kernel tables that a machine runs."""

    def __init__(self, machine: ServingMachine) -> None:
        self._machine = machine

    def tables(self) -> list[str]:
        """Return the names of the tables that its processor runs, best first."""
        return answer(self._machine, "tables")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return the function of that name, which returns an array, a tuple of them, or the bytes of panels."""
        if name.startswith("_"):
            raise AttributeError(name)

        def function(*arguments: Any) -> Any:
            results = answer(self._machine, name, *_views(arguments))
            if name == "pack":
                return results[0].tobytes()
            return results[0] if len(results) == 1 else tuple(results)

        return function


def _views(arguments: Sequence[Any]) -> list[Any]:
    """Panels are bytes in Python, and an array to the machine."""
    return [np.frombuffer(argument, np.uint8) if isinstance(argument, bytes) else argument for argument in arguments]


def run_machine(
    machine: ServingMachine, name: str, sizes: Sequence[int], program: Sequence[tuple[str, int, int]]
) -> list[tuple[str, str]]:
    """Run a program on the state machine `name`: every answer, and the state after it."""
    text = "\n".join(f"{request} {first} {second}" for request, first, second in program)
    texts = answer(machine, name, len(sizes), *sizes, text)
    return list(zip(texts[::2], texts[1::2], strict=True))
