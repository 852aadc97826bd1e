"""A layer runs from start to end; ticks that arrive inside wait for its boundary."""

from __future__ import annotations


class LayerLock:
    """The layer that is held, and the ticks that have not been served."""

    def __init__(self) -> None:
        self.held: int | None = None
        self.n_waiting = self.n_deferred = 0
        self.first_us: int | None = None
        self.longest_deferral_us = self.n_deferred_ever = 0

    def acquire(self, layer: int) -> None:
        """A layer starts. RuntimeError if one is held."""
        if self.held is not None:
            raise _refused("acquire", layer, self.held)
        self.held = layer

    def release(self, layer: int) -> None:
        """The layer ends. RuntimeError if it is not the one that is held."""
        if self.held != layer:
            raise _refused("release", layer, self.held)
        self.held = None

    def abandon(self) -> None:
        """Whatever is held is held no more: the pass has ended in the middle."""
        self.held = None

    def tick(self, now_us: int) -> None:
        """A tick: counted, and deferred if a layer is held."""
        if self.held is not None:
            self.first_us = now_us if self.first_us is None else self.first_us
            self.n_deferred += 1
        self.n_waiting += 1

    def yield_at_layer_boundary(self, now_us: int) -> tuple[int, int, int]:
        """Serves what has come: ticks, those that waited, and how long the first of them did."""
        if self.held is not None or self.n_waiting == 0:
            return 0, 0, 0
        waited_us = 0 if self.first_us is None else max(0, now_us - self.first_us)
        served = self.n_waiting, self.n_deferred, waited_us
        self.longest_deferral_us = max(self.longest_deferral_us, waited_us)
        self.n_deferred_ever += self.n_deferred
        self.n_waiting = self.n_deferred = 0
        self.first_us = None
        return served


def _refused(request: str, layer: int, held: int | None) -> RuntimeError:
    while_ = "none is held" if held is None else f"layer {held} is held"
    return RuntimeError(f"cannot {request} layer {layer} while {while_}; this is a defect of the engine, report it")
