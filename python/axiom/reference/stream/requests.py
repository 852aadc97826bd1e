"""What has been asked of a device and not answered yet.

A tag names a place in a table and how often that place has been used, so that an answer to something else is found out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One read under way: into which slot (None: into no slot), and how much from where."""

    slot: int | None
    offset: int
    n_bytes: int
    is_retry: bool = False


class Requests:
    """The table. Its size bounds the requests at a time."""

    def __init__(self, n_max: int) -> None:
        self._places: list[Request | None] = [None] * n_max
        self._n_use = [0] * n_max
        self._free = list(range(n_max))[::-1]

    def __len__(self) -> int:
        """Requests under way."""
        return len(self._places) - len(self._free)

    def has_room(self) -> bool:
        """Whether there is room for one more."""
        return bool(self._free)

    def add(self, request: Request) -> int:
        """Notes a request, and gives it a tag. There is room."""
        at = self._free.pop()
        self._places[at] = request
        return self._n_use[at] << 16 | at

    def take(self, tag: int) -> Request:
        """Takes the request that a tag names; OSError if no request under way has it."""
        at, n_use = tag & 0xFFFF, tag >> 16
        request = self._places[at] if at < len(self._places) and self._n_use[at] == n_use else None
        if request is None:
            raise OSError(f"the disk answered request {tag:#x}, which nobody made; its driver is at fault")
        self._places[at] = None
        self._n_use[at] = (self._n_use[at] + 1) & 0xFFFF
        self._free.append(at)
        return request
