"""Files: their names, writing so that a file is whole or not there at all, errors that say which file, and digests."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import hashlib

__all__ = ["NamedFile", "checked_path", "checked_target", "named_errors", "sha256", "whole_file", "write_whole"]

# How a GGUF and an image begin.
_GGUF, _IMAGE = b"GGUF", b"AXIOMIMG"


def sha256(data: bytes = b"") -> hashlib._Hash:
    """Begin a SHA-256 with some bytes. Its library takes longer to load than a small image, which needs none."""
    import hashlib

    return hashlib.sha256(data)


def checked_path(path: str | os.PathLike[str], what: str = "path") -> Path:
    """Return a path that names something. Raises `TypeError` or `ValueError`, which begin with `what`."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{what}: expected the path of a file, got {path!r}")
    if not os.fspath(path):
        raise ValueError(f"{what}: expected the name of a file, got an empty one")
    if "\0" in os.fsdecode(path):
        raise ValueError(f"{what}: expected the name of a file, got one with a zero byte: {path!r}")
    return Path(path)


def checked_target(
    path: str | os.PathLike[str], *sources: str | os.PathLike[str], special: bool = False, is_image: bool = False
) -> Path:
    """Return where a file can be written: asked before the work that fills it.

    Raises `OSError` where it cannot, and `ValueError` where it is one of `sources` or begins as a model does, which
    would be lost. `special` allows what is no file, such as /dev/stdout, for what is written from its beginning to its
    end. `is_image` says that an image is written, which may take the place of another.
    """
    target = checked_path(path)
    if not _is_special(target):
        # A link stays one, and what it points to is replaced.
        target = Path(os.path.realpath(target))
    if target.is_dir() or os.fsdecode(path).endswith(os.sep):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"no such directory: {target.parent}", os.fspath(path))
    if not os.access(target if _is_special(target) else target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, f"nothing can be written in {target.parent}", os.fspath(path))
    if _is_special(target) and not special:
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    for source in sources:
        if target.exists() and Path(source).exists() and target.samefile(source):
            raise ValueError(f"{os.fspath(path)}: expected another file than {Path(source).name}, which would be lost")
    if target.is_file() and _begins_with(target, _GGUF if is_image else (_GGUF, _IMAGE)):
        raise ValueError(
            f"{os.fspath(path)}: expected another file than a model, which would be lost; "
            "give another name, or remove it first"
        )
    return target


@contextlib.contextmanager
def named_errors(name: str | os.PathLike[str]) -> Iterator[None]:
    """Have the errors of the system in a block say `name`: those of calls on an open file say none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(name)) from None


class NamedFile(io.FileIO):
    """A file to write to, without a buffer, whose errors say its name.

    For what is given up where it is interrupted: an interrupt can make a buffer write the same bytes again.
    """

    def __init__(self, path: Path, mode: str, name: str | os.PathLike[str], opener: Any = None):
        """Open the file at `path`, which is called `name`."""
        self._name = name
        with named_errors(name):
            super().__init__(path, mode, opener=opener)

    def write(self, data: Any, /) -> int:
        """Write some bytes and return how many."""
        with named_errors(self._name):
            return super().write(data)

    def truncate(self, n_bytes: int | None = None, /) -> int:
        """Make the file as long as that."""
        with named_errors(self._name):
            return super().truncate(n_bytes)


@contextlib.contextmanager
def whole_file(
    path: str | os.PathLike[str], *sources: str | os.PathLike[str], is_image: bool = False
) -> Iterator[BinaryIO]:
    """Open a file beside `path` to write, and move it into place at the end of the block, when it is on the disk.

    A full disk or Ctrl-C leaves what was there before, and no half file. Who may read and write it stays as it was.
    Raises as `checked_target`.
    """
    target = checked_target(path, *sources, is_image=is_image)
    # Not made of the name of the target, which may be as long as names can be.
    partial = target.with_name(f".axiom-{os.urandom(8).hex()}.partial")
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if mode is None else mode)

    try:
        with io.BufferedWriter(NamedFile(partial, "x", path, opener)) as file:
            if mode is not None:
                # What the process masks has been left out.
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            with named_errors(path):
                os.fsync(file.fileno())
        with named_errors(path):
            partial.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes], *sources: str | os.PathLike[str]) -> None:
    """Write a file, whole or not at all. A device or a pipe, such as /dev/stdout, is written to as it is."""
    target = checked_target(path, *sources, special=True)
    with io.BufferedWriter(NamedFile(target, "w", path)) if _is_special(target) else whole_file(path, *sources) as file:
        for part in parts:
            file.write(part)


def _is_special(path: Path) -> bool:
    """Whether there is something that is no file, and must not be replaced by one."""
    return path.exists() and not path.is_file()


def _begins_with(path: Path, starts: bytes | tuple[bytes, ...]) -> bool:
    # What cannot be read has not been used as a model.
    with contextlib.suppress(PermissionError), path.open("rb") as file:
        return file.read(len(_IMAGE)).startswith(starts)
    return False
