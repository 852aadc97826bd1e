"""How an engine is opened: what a user of `axiom.Runtime` may ask for, of whichever body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axiom.model_file.model_config import KVFormat
from axiom.record import Record

__all__ = ["EngineOptions"]


class EngineOptions(Record):
    """What is asked of an engine. None leaves the choice to it."""

    n_ctx: int | None = None
    """Positions of a sequence."""
    n_seq_max: int | None = None
    """Sequences at once, at most."""
    kv: KVFormat = "f16"
    """Format of the cache."""
    memory: int | None = None
    """Bytes that the resident set of the process may have, or that a bare machine has."""
    threads: int | None = None
    """Threads, or the cores of a bare machine."""
    kernels: str | None = None
    """Name of a kernel table."""
    paranoid: bool = False
    """Whether a streamed layer's digest is checked each time that it is read."""
    progress: Callable[[int, int], None] | None = None
    """`progress(n_done, n_total)` counts bytes of weights while they load."""

    def __post_init__(self) -> None:
        """Raise `ValueError` for what no body takes."""
        if self.kv not in ("f16", "f32"):
            raise ValueError(f"kv: expected 'f16' or 'f32', got {self.kv!r}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads: expected a positive number, got {self.threads}")

    @property
    def sizes(self) -> dict[str, Any]:
        """Return those that `axiom.capacity` decides by memory where they are not asked for."""
        return {"n_ctx": self.n_ctx, "n_seq_max": self.n_seq_max, "kv": self.kv}
