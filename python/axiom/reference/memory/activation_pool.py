"""The residual stream as a triple ring: the slot of a position is position mod 3."""

from __future__ import annotations

_SLOTS = 3


class ActivationPool:
    """The live positions: each begun after the one before, the oldest ended first, at most three at a time."""

    def __init__(self) -> None:
        self.first = self.end_ = 0

    def begin(self, position: int) -> int:
        """Makes the next position live, and returns its slot. Position 0 begins a pass, whatever was live."""
        if position == 0:
            self.first = self.end_ = 0
        if position != self.end_ or self.end_ - self.first == _SLOTS:
            raise self._refused("begin", position)
        self.end_ += 1
        return position % _SLOTS

    def end(self, position: int) -> None:
        """The oldest live position is needed no more."""
        if position != self.first or self.first == self.end_:
            raise self._refused("end", position)
        self.first += 1

    def _refused(self, request: str, position: int) -> RuntimeError:
        return RuntimeError(
            f"cannot {request} position {position} of the residual stream while {self.first} ... {self.end_} are "
            "live; this is a defect of the engine, report it"
        )
