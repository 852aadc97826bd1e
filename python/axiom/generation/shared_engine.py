"""One engine used by many threads and sequences: a lock around every call, and an account of who holds sequences.

Passes of different threads take turns at the lock; the bits of a row do not depend on what else runs, so each thread
gets what it would have got alone. When all sequences are taken, a generation waits for one of another thread to end;
where none of the holders can be expected to end, it is an error.

Ctrl-C and other signals may raise between any two steps. So a sequence belongs to a `HeldSequence` from its first
moment, and what the engine has beyond those is found when it is missed.

A `fork` copies the thread that forks and no other. A lock that another one holds then is nobody's in the child, and an
engine that it was inside of is in the middle of a pass for ever: the child gets new locks, and such an engine is lost.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from axiom.engine import Engine, LogitRows, Logits, StopFlag
from axiom.errors import MemoryBudgetError
from axiom.leaving import is_leaving

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["HeldSequence", "SharedEngine"]

T = TypeVar("T")

# How often one who waits for a sequence looks whether waiting makes sense.
_LOOK_S = 0.05
# How long streams may be left alone while another thread waits for the sequence of one.
_PATIENCE_S = 30.0


class HeldSequence:
    """An open sequence of the engine. It is freed once it is closed, or nobody has this object any more."""

    is_closed = True

    def __init__(self, engine: SharedEngine, number: int, thread: threading.Thread | None):
        """Take charge of sequence `number`, for a generation that `thread` began or, without one, for a session."""
        self._engine = engine
        self.number = number
        """What the engine calls it."""
        # Those who have asked the generation for more: each of them may carry it on to its end.
        self.threads: tuple[threading.Thread, ...] = () if thread is None else (thread,)
        self.is_closed = False

    def asked_by(self, thread: threading.Thread) -> None:
        """Note that a thread asks for more: under asyncio it may be another one for each piece."""
        if self.threads and thread not in self.threads:
            self.threads = (*(known for known in self.threads if known.is_alive()), thread)

    def close(self) -> None:
        """Free the sequence. Closing twice does nothing."""
        if not self.is_closed:
            self.is_closed = True
            self._engine.free_closed()

    def __del__(self) -> None:
        """Free it."""
        self.close()


class SharedEngine:
    """Guards an `Engine`. Every method may be called from any thread; after `close`, all but that raise."""

    def __init__(self, engine: Engine):
        """Take over `engine`, which nothing else may call from now on."""
        self._engine = engine
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # Every open sequence by its number.
        self._held: dict[int, weakref.ref[HeldSequence]] = {}
        # Whether some of them have been closed since they were last looked through.
        self._has_closed = False
        self._waiting: set[threading.Thread] = set()
        self._last_pass = time.monotonic()
        self._closed = False
        self._why_closed = "the runtime is closed; open another with axiom.Runtime(model)"
        # Whether this thread is inside a call of the engine; what a garbage collection then frees must wait.
        self._in_call = False
        self.n_ctx = engine.n_ctx
        self.n_vocab = engine.n_vocab
        self.n_seq_max = engine.n_seq_max
        self.is_streamed = engine.is_streamed
        _all.add(self)

    def open_sequence(
        self,
        make: Callable[[Engine], int] | None = None,
        *,
        held: bool = False,
    ) -> HeldSequence:
        """Open a sequence: an empty one, or what `make` makes of the engine, such as a fork.

        `held` says that it belongs to a session. When none is free, wait until one is. Raises `MemoryBudgetError` when
        waiting would never end.
        """
        sequence = self._when_free(_new_sequence if make is None else make, held, lambda: False)
        assert sequence is not None
        return sequence

    def open_instead(self, old: HeldSequence, make: Callable[[Engine], int]) -> HeldSequence:
        """Close a session's sequence and open another in its room, before another thread can take that.

        Whatever `make` raises, `old` is closed.
        """
        with self._lock:
            old.close()
            return self.open_sequence(make, held=True)

    def open_sequence_unless(self, is_over: Callable[[], bool]) -> HeldSequence | None:
        """Open an empty sequence as `open_sequence`; return None when none is free and `is_over()`."""
        return self._when_free(_new_sequence, False, is_over)

    def _when_free(self, make: Callable[[Engine], int], held: bool, is_over: Callable[[], bool]) -> HeldSequence | None:
        with self._lock:
            began = time.monotonic()
            while True:
                self._open()
                if len(self._held) == self.n_seq_max:
                    self._look_through()
                if len(self._held) < self.n_seq_max:
                    number = self._opened(make)
                    sequence = HeldSequence(self, number, None if held else threading.current_thread())
                    self._held[number] = weakref.ref(sequence)
                    return sequence
                if is_over():
                    return None
                try:
                    self._check_waiting(began)
                except MemoryBudgetError:
                    # Objects that refer to each other keep theirs until somebody looks for such.
                    gc.collect()
                    self._look_through()
                    if len(self._held) == self.n_seq_max:
                        raise
                    continue
                me = threading.current_thread()
                self._waiting.add(me)
                try:
                    self._changed.wait(_LOOK_S)
                finally:
                    self._waiting.discard(me)

    def _opened(self, make: Callable[[Engine], int]) -> int:
        try:
            return self.call(make)
        except MemoryBudgetError:
            # Those that were opened when a signal raised, before anybody was told of them.
            for number in range(self.n_seq_max):
                if number not in self._held:
                    with contextlib.suppress(ValueError):
                        self._engine.seq_free(number)
            return self.call(make)

    def _check_waiting(self, began: float) -> None:
        """Raise `MemoryBudgetError` where no holder can be expected to free its sequence."""
        others = {
            thread
            for reference in self._held.values()
            if (sequence := reference()) is not None
            for thread in sequence.threads
        } - {threading.current_thread()}
        remedy = "close one, or open the runtime with a larger n_seq_max or a smaller n_ctx"
        if not any(thread.is_alive() and thread not in self._waiting for thread in others):
            whose = "this thread" + (" and of threads that have ended or wait for one too" if others else "")
            raise MemoryBudgetError(
                f"all {self.n_seq_max} sequences are held by sessions and by streams of {whose}; {remedy}"
            )
        idle_s = time.monotonic() - max(began, self._last_pass)
        if idle_s > _PATIENCE_S:
            raise MemoryBudgetError(
                f"all {self.n_seq_max} sequences are held, and none of the streams that hold them has been asked for "
                f"more in {idle_s:.0f} s; {remedy}"
            )

    def free_closed(self) -> None:
        """Free the sequences that were closed or forgotten, now or once the engine is free for it. Never waits."""
        self._has_closed = True
        # A garbage collection may be what calls this. Whoever has the engine looks when the call is over.
        if self._lock.acquire(blocking=False):
            try:
                if not self._in_call:
                    self._look_through()
            finally:
                self._lock.release()

    @property
    def n_open(self) -> int:
        """Sequences that are open."""
        with self._lock:
            if not self._in_call:
                self._look_through()
            return len(self._held)

    def _look_through(self) -> None:
        self._has_closed = False
        for number, reference in list(self._held.items()):
            sequence = reference()
            if sequence is None or sequence.is_closed:
                if not self._closed:
                    # It is unknown if a signal raised just after it had been freed.
                    with contextlib.suppress(ValueError):
                        self._engine.seq_free(number)
                self._held.pop(number, None)
        self._changed.notify_all()

    def forward(
        self, seqs: Sequence[int], tokens: Sequence[Sequence[int]], logits: LogitRows, stop: StopFlag | None = None
    ) -> Logits:
        """Run one pass, as `Engine.forward`."""
        me = threading.current_thread()
        for number in seqs:
            if (reference := self._held.get(number)) is not None and (sequence := reference()) is not None:
                sequence.asked_by(me)
        try:
            return self.call(lambda engine: engine.forward(seqs, tokens, logits, None, stop))
        finally:
            self._last_pass = time.monotonic()

    def call(self, action: Callable[[Engine], T]) -> T:
        """Return `action(engine)`, alone with the engine."""
        with self._lock:
            engine = self._open()
            if self._in_call:
                raise RuntimeError("the engine was called from inside one of its own calls")
            try:
                self._in_call = True
                return action(engine)
            finally:
                self._in_call = False
                if self._has_closed:
                    self._look_through()

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
        # While the program ends, a daemon thread that is in a pass stays there, and has the lock.
        if not self._lock.acquire(blocking=not is_leaving()):
            return
        try:
            if not self._closed:
                self._closed = True
                self._engine.close()
                self._changed.notify_all()
        finally:
            self._lock.release()

    def _open(self) -> Engine:
        if self._closed:
            raise RuntimeError(self._why_closed)
        return self._engine

    def after_fork(self) -> None:
        """Go on in the child of a `fork`, where the calling thread is the only one."""
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting.clear()
        if self._in_call:
            self._closed, self._in_call = True, False
            self._why_closed = (
                "this process was forked while another thread computed with the runtime; open another in it, "
                "or start processes by 'spawn'"
            )


_all: weakref.WeakSet[SharedEngine] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in list(_all):
        engine.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _new_sequence(engine: Engine) -> int:
    return engine.seq_new()
