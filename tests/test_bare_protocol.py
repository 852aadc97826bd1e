"""Frames and messages on the line to a bare machine: the Python twin, against any bytes, any pieces, any damage."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.bare.protocol import (
    BYTES_FRAME_MAX,
    BYTES_PAYLOAD_MAX,
    Frame,
    Inbox,
    Kind,
    Message,
    Reader,
    Receiver,
    frames,
)

U32 = st.integers(0, 2**32 - 1)
PAYLOADS = st.one_of(
    st.binary(max_size=200),
    # What looks like the beginning of a frame.
    st.lists(st.sampled_from([b"AXBP", b"AXB", b"A", b"\0"]), max_size=20).map(b"".join),
    st.sampled_from([0, 1, BYTES_PAYLOAD_MAX - 1, BYTES_PAYLOAD_MAX]).map(bytes),
)
FRAMES = st.builds(Frame, st.integers(0, 2**16 - 1), st.booleans(), U32, U32, PAYLOADS)


def received(data: bytes, cuts: list[int]) -> tuple[list[Frame], int]:
    """All frames in bytes that come in pieces."""
    receiver, got = Receiver(), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        receiver.push(data[start:end])
        while (frame := receiver.pop()) is not None:
            got.append(frame)
    # A frame that has lost bytes waits for them, with what came after it.
    while receiver.n_pending:
        receiver.give_up()
        while (frame := receiver.pop()) is not None:
            got.append(frame)
    return got, receiver.n_damage


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(0, 10**6), max_size=10))
def test_frames_come_as_they_were_sent_however_they_are_cut(sent: list[Frame], cuts: list[int]) -> None:
    assert received(b"".join(frame.encode() for frame in sent), cuts) == (sent, 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES, min_size=2, max_size=4), st.data())
def test_a_damaged_frame_is_refused_and_the_others_come(sent: list[Frame], data: st.DataObject) -> None:
    pieces = [bytearray(frame.encode()) for frame in sent]
    wounded = data.draw(st.integers(0, len(sent) - 1))
    piece = pieces[wounded]
    at = data.draw(st.integers(0, len(piece) - 1))
    how = data.draw(st.sampled_from(["turned", "lost", "added"]))
    if how == "turned":
        piece[at] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "lost":
        # Not all of them: of a frame that is not there at all nobody knows.
        del piece[max(1, at) : max(1, at) + data.draw(st.integers(1, 40))]
    else:
        # What comes between two frames harms neither.
        at = max(1, at)
        piece[at:at] = data.draw(st.binary(min_size=1, max_size=40).filter(lambda noise: noise != piece[at:]))
    got, n_damage = received(b"".join(pieces), data.draw(st.lists(st.integers(0, 10**6), max_size=5)))
    # Noise may repeat what it came before, which harms nobody.
    assert got in ([frame for i, frame in enumerate(sent) if i != wounded], sent)
    assert n_damage >= (got != sent)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=3000), st.booleans(), FRAMES, st.lists(st.integers(0, 10**6), max_size=5))
def test_any_bytes_are_survived(noise: bytes, has_header: bool, frame: Frame, cuts: list[int]) -> None:
    if has_header and len(noise) >= 24:
        # A header that its checksum makes right, and that claims what follows.
        head = b"AXBP" + noise[4:6] + b"\1\0" + noise[8:16] + (len(noise) % BYTES_PAYLOAD_MAX).to_bytes(4, "little")
        noise = head + zlib.crc32(head).to_bytes(4, "little") + noise[24:]
    got, _ = received(noise + frame.encode(), cuts)
    assert got[-1] == frame


def test_the_bytes_are_those_of_the_documentation() -> None:
    # docs/bare-protocol.md, section 1: a request for the length of sequence 3.
    frame = Frame(Kind.SEQ_LEN, False, 7, 0, (3).to_bytes(8, "little"))
    expected = "41584250 0800 0000 07000000 00000000 08000000 3f73d03f 0300000000000000 8ad8adeb"
    assert frame.encode().hex() == expected.replace(" ", "")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3 * BYTES_PAYLOAD_MAX), st.integers(0, 255))
def test_messages_come_whole(n: int, byte: int) -> None:
    payload = bytes([byte]) * n
    parts = list(frames(Kind.SEQ_LOAD, 9, payload))
    assert all(len(part.encode()) <= BYTES_FRAME_MAX for part in parts)
    inbox = Inbox()
    assert [inbox.take(part) for part in parts[:-1]] == [None] * (len(parts) - 1)
    assert inbox.take(parts[-1]) == Message(Kind.SEQ_LOAD, 9, payload)


def test_frames_out_of_order_are_refused() -> None:
    first, second, third = frames(Kind.SEQ_LOAD, 9, bytes(2 * BYTES_PAYLOAD_MAX + 1))
    inbox = Inbox()
    assert inbox.take(first) is None
    with pytest.raises(ValueError, match="frame 2 of message 9 does not follow"):
        inbox.take(third)
    with pytest.raises(ValueError, match="frame 1"):
        inbox.take(second)
    assert [inbox.take(first), inbox.take(first), inbox.take(second)] == [None] * 3
    assert inbox.take(third) is not None


def test_messages_that_end_early() -> None:
    reader = Reader(b"\5\0\0\0abc")
    with pytest.raises(ValueError, match="expected 5 bytes at 4 of a message of 7"):
        reader.text()
