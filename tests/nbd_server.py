"""A disk whose every read a test decides about: served to QEMU by the NBD protocol, over a socket in a folder.

https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed newstyle negotiation, one export, plain
replies.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["Answer", "NBDServer"]

EIO = 5
_OPTION_MAGIC, _REPLY_MAGIC = 0x49484156454F5054, 0x0003E889045565A9
_REQUEST_MAGIC, _SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
_EXPORT_NAME, _ABORT, _LIST, _INFO, _GO = 1, 2, 3, 6, 7
_ACK, _INFO_REPLY, _UNSUPPORTED = 1, 3, (1 << 31) + 1
_READ, _DISCONNECT, _FLUSH = 0, 2, 3
_HAS_FLAGS, _READ_ONLY = 1, 2


@dataclass(frozen=True)
class Answer:
    """What becomes of a read."""

    after_s: float = 0.0
    """How long it takes; infinite: it is never answered."""
    fails: bool = False
    """Whether it ends with an error."""
    xor: int = 0
    """What every byte is changed by."""


class NBDServer:
    """Serves the bytes of a file; `answer(n, offset)` says what becomes of the n-th read, counted from 0."""

    def __init__(self, content: bytes, path: Path, answer: Callable[[int, int], Answer]) -> None:
        self._content = content
        self._answer = answer
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._end = threading.Event()
        self._n_read = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """What QEMU takes as a file."""
        return f"nbd:unix:{self._path}"

    def __enter__(self) -> NBDServer:
        self._listener.bind(str(self._path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._end.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._negotiate(connection):
                    self._transmit(connection)
            except OSError:
                # QEMU has gone.
                return

    def _negotiate(self, connection: socket.socket) -> bool:
        connection.sendall(b"NBDMAGIC" + struct.pack(">QH", _OPTION_MAGIC, 3))
        _receive(connection, 4)
        export = struct.pack(">QH", len(self._content), _HAS_FLAGS | _READ_ONLY)

        def reply(option: int, kind: int, payload: bytes = b"") -> None:
            connection.sendall(struct.pack(">QIII", _REPLY_MAGIC, option, kind, len(payload)) + payload)

        while True:
            _, option, n = struct.unpack(">QII", _receive(connection, 16))
            _receive(connection, n)
            if option == _EXPORT_NAME:
                connection.sendall(export)
                return True
            if option in (_GO, _INFO):
                reply(option, _INFO_REPLY, struct.pack(">H", 0) + export)
                reply(option, _ACK)
                if option == _GO:
                    return True
            elif option == _ABORT:
                reply(option, _ACK)
                return False
            else:
                reply(option, _UNSUPPORTED)

    def _transmit(self, connection: socket.socket) -> None:
        is_sending = threading.Lock()
        while True:
            _, _, kind, handle, offset, n = struct.unpack(">IHHQQI", _receive(connection, 28))
            if kind == _DISCONNECT:
                return
            if kind == _READ:
                arguments = (connection, is_sending, handle, offset, n)
                threading.Thread(target=self._read, args=arguments, daemon=True).start()
            else:
                assert kind == _FLUSH, kind
                with is_sending:
                    connection.sendall(struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, 0, handle))

    def _read(self, connection: socket.socket, is_sending: threading.Lock, handle: int, offset: int, n: int) -> None:
        with self._lock:
            answer = self._answer(self._n_read, offset)
            self._n_read += 1
        if answer.after_s:
            self._end.wait(None if answer.after_s == float("inf") else answer.after_s)
        content = self._content[offset : offset + n]
        if answer.xor:
            content = bytes(byte ^ answer.xor for byte in content)
        reply = struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, EIO if answer.fails else 0, handle)
        try:
            with is_sending:
                connection.sendall(reply if answer.fails else reply + content)
        except OSError:
            return


def _receive(connection: socket.socket, n: int) -> bytes:
    received = bytearray()
    while len(received) < n:
        piece = connection.recv(n - len(received))
        if not piece:
            raise OSError("the connection was closed")
        received += piece
    return bytes(received)
