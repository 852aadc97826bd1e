"""One engine used by many threads and sequences: a lock around every call, and an account of who holds sequences.

Passes of different threads take turns at the lock; the bits of a row do not depend on what else runs, so each thread
gets what it would have got alone. When all sequences are taken, a generation waits for one of another thread to end;
if there is none to wait for, because sessions and unended streams of its own thread hold them all, it is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from axiom.engine import Engine, LogitRows, Logits, StopFlag
from axiom.errors import MemoryBudgetError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SharedEngine"]

T = TypeVar("T")


class SharedEngine:
    """Guards an `Engine`. Every method may be called from any thread; after `close`, all but that raise."""

    def __init__(self, engine: Engine):
        """Take over `engine`, which nothing else may call from now on."""
        self._engine = engine
        self._changed = threading.Condition(threading.RLock())
        # Who holds each open sequence: a thread by its number, or None for a session, which may stay for long.
        self._holders: dict[int, int | None] = {}
        self._closed = False
        # Whether this thread is inside a call of the engine; what a garbage collection then frees must wait.
        self._in_call = False
        self._to_free: list[int] = []
        self.n_ctx = engine.n_ctx
        self.n_vocab = engine.n_vocab
        self.n_seq_max = engine.n_seq_max
        self.is_streamed = engine.is_streamed

    def open_sequence(
        self, make: Callable[[Engine], int] | None = None, *, held: bool = False, wait: bool = True
    ) -> int | None:
        """Open a sequence: an empty one, or what `make` makes of the engine, such as a fork.

        `held` says that it belongs to a session. When none is free, wait until one is; with `wait=False`, return None.
        Raises `MemoryBudgetError` when waiting would never end.
        """
        with self._changed:
            while True:
                self._open()
                if len(self._holders) < self.n_seq_max:
                    seq = self.call(_new_sequence if make is None else make)
                    self._holders[seq] = None if held else threading.get_ident()
                    return seq
                if all(holder in (None, threading.get_ident()) for holder in self._holders.values()) and wait:
                    raise MemoryBudgetError(
                        f"all {self.n_seq_max} sequences are held by sessions and by streams of this thread; close "
                        "one, or open the runtime with a larger n_seq_max or a smaller n_ctx"
                    )
                if not wait:
                    return None
                self._changed.wait()

    def close_sequence(self, seq: int) -> None:
        """Free a sequence. After `close` it has been freed already, and this does nothing."""
        with self._changed:
            self._to_free.append(seq)
            if not self._in_call:
                self._free_closed()

    @property
    def n_open(self) -> int:
        """Sequences that are open."""
        return len(self._holders)

    def _free_closed(self) -> None:
        while self._to_free:
            seq = self._to_free.pop()
            if not self._closed:
                self._engine.seq_free(seq)
                del self._holders[seq]
        self._changed.notify_all()

    def forward(
        self, seqs: Sequence[int], tokens: Sequence[Sequence[int]], logits: LogitRows, stop: StopFlag | None = None
    ) -> Logits:
        """Run one pass, as `Engine.forward`."""
        return self.call(lambda engine: engine.forward(seqs, tokens, logits, None, stop))

    def call(self, action: Callable[[Engine], T]) -> T:
        """Return `action(engine)`, alone with the engine."""
        with self._changed:
            engine = self._open()
            if self._in_call:
                raise RuntimeError("the engine was called from inside one of its own calls")
            self._in_call = True
            try:
                return action(engine)
            finally:
                self._in_call = False
                self._free_closed()

    def telemetry(self) -> dict[str, Any]:
        """Return the engine's times and counts."""
        return self.call(lambda engine: engine.telemetry())

    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the records of the layers since the last call, and how many before were lost."""
        return self.call(lambda engine: engine.take_records())

    def info(self) -> dict[str, Any]:
        """Return what the engine chose at start."""
        return self.call(lambda engine: engine.info())

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def close(self) -> None:
        """Free the engine, once no pass is in it. Closing twice does nothing."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._engine.close()
                self._changed.notify_all()

    def _open(self) -> Engine:
        if self._closed:
            raise RuntimeError("the runtime is closed; open another with axiom.Runtime(model)")
        return self._engine


def _new_sequence(engine: Engine) -> int:
    return engine.seq_new()
