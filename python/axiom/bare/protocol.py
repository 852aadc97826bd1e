"""The language of the line to a bare machine: frames with checksums, messages of frames, and the fields of messages.

The twin of `crates/axiom-core/src/protocol/`; `docs/bare-protocol.md` says what every byte means.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "BYTES_FRAME_MAX",
    "BYTES_PAYLOAD_MAX",
    "VERSION",
    "ErrorClass",
    "Frame",
    "Inbox",
    "Kind",
    "Reader",
    "Receiver",
    "frames",
]

VERSION = 1
MAGIC = b"AXBP"
BYTES_FRAME_MAX = 1 << 16
# magic, kind, flags, number, place in the message, bytes of payload; then the checksum of these.
_HEADER = struct.Struct("<4sHHIII")
_SUM = struct.Struct("<I")
_HAS_MORE = 1
BYTES_HEADER = _HEADER.size + _SUM.size
BYTES_PAYLOAD_MAX = BYTES_FRAME_MAX - BYTES_HEADER - _SUM.size


class Kind(enum.IntEnum):
    """What a message is."""

    HELLO = 1
    OPEN = 2
    FORWARD = 3
    CANCEL = 4
    SEQ_NEW = 5
    SEQ_FREE = 6
    SEQ_FORK = 7
    SEQ_LEN = 8
    SEQ_REWIND = 9
    SEQ_SAVE = 10
    SEQ_LOAD = 11
    TELEMETRY = 12
    RECORDS = 13
    INFO = 14
    CONFORMANCE = 15
    QUIT = 16
    ANSWER = 0x100
    """Added to a request's kind in its answer."""
    ERROR = 0x200
    PROGRESS = 0x201
    DAMAGED = 0x202


class ErrorClass(enum.IntEnum):
    """Kinds of error: `axiom_core::error::ErrorClass`."""

    ARGUMENT = 1
    MODEL_FORMAT = 2
    UNSUPPORTED_MODEL = 3
    MEMORY_BUDGET = 4
    CONTEXT_LENGTH = 5
    NUMERIC = 6
    STOPPED = 7
    IO = 8
    DEFECT = 9


class Frame(NamedTuple):
    """A part of a message."""

    kind: int
    has_more: bool
    number: int
    idx: int
    payload: bytes

    def encode(self) -> bytes:
        """Return the frame as bytes."""
        head = _HEADER.pack(
            MAGIC, self.kind, _HAS_MORE if self.has_more else 0, self.number, self.idx, len(self.payload)
        )
        return b"".join((head, _SUM.pack(zlib.crc32(head)), self.payload, _SUM.pack(zlib.crc32(self.payload))))


def frames(kind: int, number: int, payload: bytes) -> Iterator[Frame]:
    """Yield the frames of a message. One without payload is one frame too."""
    n_frame = max(1, -(-len(payload) // BYTES_PAYLOAD_MAX))
    for i in range(n_frame):
        part = payload[i * BYTES_PAYLOAD_MAX : (i + 1) * BYTES_PAYLOAD_MAX]
        yield Frame(kind, i + 1 < n_frame, number, i, part)


class Receiver:
    """Finds frames in bytes that come in pieces of any length.

    A length is believed only under a header whose checksum is right, and a payload only under its own. After damage the
    receiver looks for the next header, byte by byte.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._is_lost = False
        self.n_damage = 0
        """How often bytes were found that are no frame."""

    def push(self, data: bytes) -> None:
        """Take bytes."""
        self._pending += data

    @property
    def n_pending(self) -> int:
        """Bytes that are not yet part of a frame."""
        return len(self._pending)

    def pop(self) -> Frame | None:
        """Return the next frame that is whole and right, or None if there is none yet."""
        while True:
            pending = self._pending
            start = pending.find(MAGIC)
            if start < 0:
                # The beginning of a header may be at the end.
                keep = next((n for n in (3, 2, 1) if pending.endswith(MAGIC[:n])), 0)
                self._skip(len(pending) - keep)
                return None
            self._skip(start)
            if len(pending) < BYTES_HEADER:
                return None
            _, kind, flags, number, idx, n_byte = _HEADER.unpack_from(pending)
            (head_sum,) = _SUM.unpack_from(pending, _HEADER.size)
            is_right = head_sum == zlib.crc32(pending[: _HEADER.size])
            if not is_right or flags > _HAS_MORE or n_byte > BYTES_PAYLOAD_MAX:
                self._skip(1)
                continue
            end = BYTES_HEADER + n_byte
            if len(pending) < end + _SUM.size:
                return None
            payload = bytes(pending[BYTES_HEADER:end])
            if _SUM.unpack_from(pending, end) != (zlib.crc32(payload),):
                # If bytes were lost, the next frame begins inside what this one claims.
                self._skip(1)
                continue
            del pending[: end + _SUM.size]
            self._is_lost = False
            return Frame(kind, flags == _HAS_MORE, number, idx, payload)

    def give_up(self) -> None:
        """Give up waiting for the rest of a frame: what there is of it counts as damage."""
        if self._pending:
            self._skip(1)

    def _skip(self, n: int) -> None:
        if n:
            del self._pending[:n]
            self.n_damage += not self._is_lost
            self._is_lost = True


class Message(NamedTuple):
    """A message that is whole."""

    kind: int
    number: int
    payload: bytes


class Inbox:
    """Puts messages together."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._next: tuple[int, int, int] | None = None

    def take(self, frame: Frame) -> Message | None:
        """Take the next frame; return the message if it is whole with it.

        Raises `ValueError` if the frame is not the one that follows; what was there of its message is dropped.
        """
        expected, self._next = self._next, None
        if frame.idx == 0:
            # Whoever begins anew has given up what came before.
            self._parts.clear()
        elif expected != (frame.kind, frame.number, frame.idx):
            raise ValueError(f"frame {frame.idx} of message {frame.number} does not follow what came before")
        self._parts.append(frame.payload)
        if frame.has_more:
            self._next = (frame.kind, frame.number, frame.idx + 1)
            return None
        payload = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return Message(frame.kind, frame.number, payload)


class Reader:
    """Reads the fields of a message in order: numbers little-endian, texts behind their length."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._at = 0

    def take(self, n: int) -> bytes:
        """Return the next `n` bytes. Raises `ValueError` if there are fewer; so do all that follow."""
        if n > len(self._payload) - self._at:
            raise ValueError(f"expected {n} bytes at {self._at} of a message of {len(self._payload)}")
        self._at += n
        return self._payload[self._at - n : self._at]

    def u8(self) -> int:
        """Return a u8."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Return a u32."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Return a u64."""
        return int.from_bytes(self.take(8), "little")

    def text(self) -> str:
        """Return a text."""
        return self.take(self.u32()).decode()

    def rest(self) -> bytes:
        """Return all that is left."""
        return self.take(len(self._payload) - self._at)
