"""Files: what may be read as a model, writing so that a file is whole or not there at all, and naming by digests."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import hashlib

__all__ = ["checked_source", "checked_target", "sha256", "whole_file", "write_whole"]


def sha256(data: bytes = b"") -> hashlib._Hash:
    """Begin a SHA-256 with some bytes. Its library takes longer to load than a small model, and few calls need it."""
    import hashlib

    return hashlib.sha256(data)


def checked_source(path: str | os.PathLike[str]) -> Path:
    """Return the path of a model, which is to be a file: a pipe is read once, and opening one may wait for ever."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"model: expected the path of a file, got {path!r}")
    checked = Path(_named(path))
    if stat.S_ISFIFO(checked.stat().st_mode):
        raise OSError(errno.ESPIPE, "it is a pipe, and a model is read from a file; save it to one", str(checked))
    return checked


def checked_target(path: str | os.PathLike[str], *sources: str | os.PathLike[str], special: bool = False) -> Path:
    """Return where a file can be written: asked before the work that fills it.

    Raises `OSError` where it cannot, and `ValueError` where it is one of `sources`, which would be lost. `special`
    allows what is no file, such as /dev/stdout, for what is written from its beginning to its end.
    """
    target = Path(_named(path))
    if not _is_special(target):
        # A link stays one, and what it points to is replaced.
        target = Path(os.path.realpath(target))
    if target.is_dir():
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
    return target


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *sources: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file beside `path` to write, and move it into place at the end of the block.

    A full disk or Ctrl-C leaves what was there before, and no half file. Raises as `checked_target`.
    """
    target = checked_target(path, *sources)
    partial = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, str(partial)):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes], *sources: str | os.PathLike[str]) -> None:
    """Write a file, whole or not at all. A device or a pipe, such as /dev/stdout, is written to as it is."""
    target = checked_target(path, *sources, special=True)
    with target.open("wb") if _is_special(target) else whole_file(path) as file:
        file.writelines(parts)


def _named(path: str | os.PathLike[str]) -> str:
    name = os.fspath(path)
    if not name:
        raise ValueError("expected the name of a file, got an empty one")
    return name


def _is_special(path: Path) -> bool:
    """Whether there is something that is no file, and must not be replaced by one."""
    return path.exists() and not path.is_file()
