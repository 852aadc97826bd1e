"""Asks a pass to stop, from any thread or at a moment."""

from __future__ import annotations

from time import monotonic


class StopFlag:
    """Stops the pass that it is given to, at the next layer boundary: when it is set, or after `timeout` seconds."""

    def __init__(self, timeout: float | None = None) -> None:
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout: expected seconds from 0 up, got {timeout}")
        self._deadline = None if timeout is None else monotonic() + timeout
        self._is_set = False

    def set(self) -> None:
        """Stops now. May be called from any thread."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether it has been set, or its time is over."""
        return self._is_set or (self._deadline is not None and monotonic() >= self._deadline)
