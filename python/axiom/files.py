"""Writing a file so that it is whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """Write beside `path` and move into place: a full disk or Ctrl-C leaves what was there before, and no half file."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(parts)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
