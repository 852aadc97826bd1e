"""A control group with a limit on memory, of either version."""

from __future__ import annotations

from pathlib import Path

V2 = Path("/sys/fs/cgroup")
V1 = V2 / "memory"


class MemoryGroup:
    """The group, made when entered and removed when left. A process joins by writing its number to `tasks`."""

    def __init__(self, name: str, limit: int) -> None:
        self._is_v2 = (V2 / "cgroup.controllers").exists()
        self.folder = (V2 if self._is_v2 else V1) / name
        self.limit = limit

    @property
    def tasks(self) -> Path:
        """Where a process writes its number."""
        return self.folder / "cgroup.procs"

    def __enter__(self) -> MemoryGroup:
        self.folder.mkdir(exist_ok=True)
        name = "memory.max" if self._is_v2 else "memory.limit_in_bytes"
        (self.folder / name).write_text(str(self.limit))
        return self

    def peak_bytes(self) -> int:
        """The most that the group has held, page cache among it."""
        name = "memory.peak" if self._is_v2 else "memory.max_usage_in_bytes"
        return int((self.folder / name).read_text())

    def __exit__(self, *_: object) -> None:
        self.folder.rmdir()
