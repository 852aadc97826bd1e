"""Both ends of the line to a bare machine, the core's and Python's, against each other: the same frames, the same
messages and the same damage from any bytes in any pieces; the same bytes from any message."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.bare.protocol import BYTES_PAYLOAD_MAX, Frame, Inbox, Reader, Receiver, frames

native: Any = pytest.importorskip("axiom._native", reason="the extension is not built").testing.protocol

EXAMPLES = settings(max_examples=1000, deadline=None)
U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
Piece = bytes | None
"""Bytes that come at once; None: the rest of a frame is given up."""

PAYLOADS = st.one_of(
    st.binary(max_size=60), st.lists(st.sampled_from([b"AXBP", b"AXB", b"A"]), max_size=9).map(b"".join)
)
SMALL = st.integers(0, 2)
# Few numbers and places, so that many frames follow one another.
FRAMES = st.builds(Frame, st.sampled_from([7, 8]), st.booleans(), SMALL, SMALL, PAYLOADS)
WILD_FRAMES = st.builds(Frame, U16, st.booleans(), U32, U32, PAYLOADS)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in frames that are shorter than they need to be."""
    parts = draw(st.lists(PAYLOADS, min_size=1, max_size=4))
    kind, number = draw(U16), draw(SMALL)
    return b"".join(Frame(kind, i + 1 < len(parts), number, i, part).encode() for i, part in enumerate(parts))


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """A header whose checksum is right, whatever it claims."""
    n_byte = draw(st.sampled_from([0, 1, 5, 200, BYTES_PAYLOAD_MAX, BYTES_PAYLOAD_MAX + 1, 2**32 - 1]))
    flags = draw(st.sampled_from([0, 1, 2, 256]))
    head = b"AXBP" + draw(st.binary(min_size=2, max_size=2)) + flags.to_bytes(2, "little") + bytes(8)
    head += n_byte.to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little")


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bits turned, bytes lost, bytes added."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 3))):
        at, how = draw(st.integers(0, len(data))), draw(st.sampled_from(["turned", "lost", "added"]))
        if how == "turned" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "lost":
            del data[at : at + draw(st.integers(1, 30))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=30))
    return bytes(data)


SENT = st.one_of(FRAMES.map(Frame.encode), WILD_FRAMES.map(Frame.encode), messages())
NOISE = st.one_of(st.binary(max_size=100), headers(), st.sampled_from([b"A", b"AX", b"AXB", b"AXBP", b"AXBAXBP"]))


@st.composite
def lines(draw: st.DrawFn) -> list[Piece]:
    """What comes over a line, in pieces."""
    data = b"".join(draw(st.lists(st.one_of(SENT, SENT, damaged(SENT), NOISE), max_size=8)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces: list[Piece] = [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
    for at in draw(st.lists(st.integers(0, len(pieces)), max_size=3)):
        pieces.insert(at, None)
    return pieces


def come(pieces: list[Piece]) -> list[Any]:
    """What Python makes of them, as the core's side says it."""
    receiver, inbox, said = Receiver(), Inbox(), []

    def taken(frame: Frame) -> str:
        try:
            message = inbox.take(frame)
        except ValueError:
            return "out of order"
        if message is None:
            return "more"
        return f"whole {message.kind} {message.number} [{', '.join(f'{byte:02x}' for byte in message.payload)}]"

    for piece in pieces:
        if piece is None:
            receiver.give_up()
        else:
            receiver.push(piece)
        got = []
        while (frame := receiver.pop()) is not None:
            got.append((tuple(frame), taken(frame)))
        said.append((got, receiver.n_pending, receiver.n_damage))
    return said


@EXAMPLES
@given(lines())
def test_what_comes_is_the_same(pieces: list[Piece]) -> None:
    assert native.receive(pieces, 1 << 16) == come(pieces)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * BYTES_PAYLOAD_MAX), st.binary(min_size=1, max_size=9), U16, U32, st.integers(1, 9999))
def test_what_is_sent_is_the_same(n: int, seed: bytes, kind: int, number: int, n_cut: int) -> None:
    payload = (seed * (n // len(seed) + 1))[:n]
    parts = [frame.encode() for frame in frames(kind, number, payload)]
    assert native.encode(kind, number, payload) == parts
    line = b"".join(parts)
    pieces: list[Piece] = [
        line[at : at + n_cut + len(line) // 20] for at in range(0, len(line), n_cut + len(line) // 20)
    ]
    assert native.receive(pieces, len(payload)) == come(pieces)


def test_the_core_alone_has_a_longest_message() -> None:
    parts: list[Piece] = [frame.encode() for frame in frames(11, 4, bytes(2 * BYTES_PAYLOAD_MAX + 5))]
    said = [frames[0][1] for frames, *_ in native.receive(parts, 2 * BYTES_PAYLOAD_MAX)]
    assert said == ["more", "more", f"too long 4 {2 * BYTES_PAYLOAD_MAX}"]


@EXAMPLES
@given(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=9).map(lambda text: len(text.encode()).to_bytes(4, "little") + text.encode()),
    ),
    st.lists(st.sampled_from(["u8", "u32", "u64", "text", "rest"]), max_size=8),
)
def test_fields_are_the_same(payload: bytes, fields: list[str]) -> None:
    reader = Reader(payload)

    def read(field: str) -> str | None:
        method: Callable[[], Any] = getattr(reader, field)
        try:
            value = method()
        except ValueError:
            return None
        return f"[{', '.join(f'{byte:02x}' for byte in value)}]" if field == "rest" else str(value)

    assert native.read_fields(payload, fields) == [read(field) for field in fields]
