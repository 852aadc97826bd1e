"""A file that is open to be read, and stretches of it. What is read is never mapped: under a map, a file that becomes
shorter or whose disk goes away would end the process instead of raising an error.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from axiom.errors import ModelFormatError
from axiom.files import checked_path, named_errors
from axiom.record import Record

__all__ = ["FileBytes", "OpenFile"]


class OpenFile:
    """A file that stays open for as long as this object: the same file, whatever its name comes to mean."""

    def __init__(self, path: str | os.PathLike[str]):
        """Open the model at `path`. Raises `OSError` if it cannot be read, or is no file: a pipe is read once."""
        self.path: Path = checked_path(path, "model")
        # At once: a pipe would else be waited for until somebody writes to it, which may be never.
        self.number = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        status = os.fstat(self.number)
        if stat.S_ISDIR(status.st_mode):
            remedy = "it is a folder; give the path of a .gguf file, or of an image"
            raise IsADirectoryError(errno.EISDIR, remedy, str(path))
        if not stat.S_ISREG(status.st_mode):
            kind = "pipe" if stat.S_ISFIFO(status.st_mode) else "device"
            remedy = f"it is a {kind}, and a model is read from a file; save it to one"
            raise OSError(errno.ESPIPE, remedy, str(path))
        self.n_bytes: int = status.st_size
        self._written_ns = status.st_mtime_ns

    def __del__(self) -> None:
        """Close it."""
        if hasattr(self, "number"):
            os.close(self.number)

    def read(self, start: int, n_bytes: int) -> bytes:
        """Read bytes as they are now. Raises `ModelFormatError` where there are no longer as many, or `OSError`."""
        pieces: list[bytes] = []
        left = n_bytes
        while left > 0:
            with named_errors(self.path):
                # One call reads 2 GiB at most.
                pieces.append(os.pread(self.number, left, start + n_bytes - left))
            if not pieces[-1]:
                raise self._shorter(start + n_bytes - left)
            left -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def head(self, n_bytes: int) -> bytes:
        """Read the first bytes, or all where there are fewer. Raises as `read`."""
        return self.read(0, min(n_bytes, self.n_bytes))

    def check_unchanged(self) -> None:
        """Raise `ModelFormatError` if the file was written to since it was opened, by what its system says."""
        with named_errors(self.path):
            status = os.fstat(self.number)
        if status.st_size < self.n_bytes:
            raise self._shorter(status.st_size)
        if (status.st_size, status.st_mtime_ns) != (self.n_bytes, self._written_ns):
            raise self._changed("contents: expected those of when it was opened, got others, written since")

    def _shorter(self, n_bytes: int) -> ModelFormatError:
        return self._changed(f"length: expected {self.n_bytes} bytes, as when it was opened, got {n_bytes}")

    def _changed(self, how: str) -> ModelFormatError:
        remedy = "another program writes to it: wait until it is whole, and open it again"
        return ModelFormatError(f"{self.path.name}: {how}; {remedy}")


class FileBytes(Record):
    """Bytes of an open file, to be read piece by piece where they are wanted."""

    file: OpenFile
    offset: int
    n_bytes: int

    def read(self) -> bytes:
        """Read all of them. Raises as `OpenFile.read`."""
        return self.file.read(self.offset, self.n_bytes)
