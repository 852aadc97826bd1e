"""The slots that weights lie in: Unloaded, Streaming, Resident, Computing, and no way between them but these.

start Unloaded > Streaming, finish Streaming > Resident, fail Streaming > Unloaded, begin Resident > Computing,
end Computing > Unloaded (Resident if pinned), unload Resident > Unloaded (not if pinned), pin Resident > Resident
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class _Slot:
    state: str = "Unloaded"
    extent: int = 0
    is_pinned: bool = False


class WeightPool:
    """All slots. A request that a slot's state does not allow is a RuntimeError that names slot, state and request."""

    def __init__(self, n_slot: int) -> None:
        self.slots = [_Slot() for _ in range(n_slot)]

    def state(self, slot: int) -> tuple[str, int | None]:
        """The state of a slot, and the extent that it holds."""
        at = self.slots[slot]
        return at.state, None if at.state == "Unloaded" else at.extent

    def slot_of(self, extent: int) -> int | None:
        """The slot that holds an extent, in whatever state."""
        return next((i for i, at in enumerate(self.slots) if at.state != "Unloaded" and at.extent == extent), None)

    def start(self, slot: int, extent: int) -> None:
        """An extent begins to come."""
        self._go(slot, "Unloaded", "Streaming", "start")
        self.slots[slot].extent = extent

    def finish(self, slot: int) -> None:
        """It has come."""
        self._go(slot, "Streaming", "Resident", "finish")

    def fail(self, slot: int) -> None:
        """It will not come."""
        self._go(slot, "Streaming", "Unloaded", "fail")

    def begin(self, slot: int) -> None:
        """A layer computes from it."""
        self._go(slot, "Resident", "Computing", "begin")

    def end(self, slot: int) -> None:
        """The layer is done."""
        self._go(slot, "Computing", "Resident" if self.slots[slot].is_pinned else "Unloaded", "end")

    def unload(self, slot: int) -> None:
        """The extent is not wanted after all."""
        if self.slots[slot].is_pinned:
            raise _refused(slot, "Resident, pinned", "unload")
        self._go(slot, "Resident", "Unloaded", "unload")

    def pin(self, slot: int) -> None:
        """The slot keeps its extent from now on."""
        self._go(slot, "Resident", "Resident", "pin")
        self.slots[slot].is_pinned = True

    def _go(self, slot: int, before: str, after: str, request: str) -> None:
        if self.slots[slot].state != before:
            raise _refused(slot, self.slots[slot].state, request)
        self.slots[slot].state = after


def _refused(slot: int, state: str, request: str) -> RuntimeError:
    return RuntimeError(
        f"weight slot {slot} is {state} and cannot {request}; this is a defect of the engine, report it"
    )
