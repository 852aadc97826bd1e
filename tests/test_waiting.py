"""Waiting for a sequence: for as long as one can be expected to become free, and no longer."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import axiom
from axiom.generation.stream import Stream
from axiom.runtime import Runtime
from tests.backends import ENGINES
from tests.models import SMALLEST

MODEL = SMALLEST | {"n_ctx": 96}


@pytest.fixture(params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend=request.param, n_seq_max=2, threads=1) as opened:
        yield opened


def begun(runtime: Runtime) -> Stream:
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    next(stream)
    return stream


class InThread:
    """Runs a function in a thread that lives until the end of the block, or ends at once."""

    def __init__(self, action: Callable[[], object], *, stays: bool):
        self._go_on = threading.Event()
        self._done = threading.Event()
        self.result: object = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(action, stays), daemon=True)

    def _run(self, action: Callable[[], object], stays: bool) -> None:
        try:
            self.result = action()
        except BaseException as error:
            self.error = error
        self._done.set()
        if stays:
            self._go_on.wait(60)

    def is_done(self, seconds: float = 30.0) -> bool:
        return self._done.wait(seconds)

    def __enter__(self) -> InThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._thread.join(60)


def test_two_threads_that_hold_and_wait_do_not_wait_for_ever(runtime: Runtime) -> None:
    together = threading.Barrier(2)

    def hold_and_generate() -> int:
        with begun(runtime):
            together.wait(30)
            return len(runtime.generate("Hello", max_tokens=2, seed=1, ignore_eos=True).tokens)

    with InThread(hold_and_generate, stays=False) as first, InThread(hold_and_generate, stays=False) as second:
        assert first.is_done()
        assert second.is_done()
    # The one that came last is told, and its end is what the other has waited for.
    errors = [thread.error for thread in (first, second) if thread.error is not None]
    assert [type(error) for error in errors] == [axiom.MemoryBudgetError]
    assert "of threads that have ended or wait for one too" in str(errors[0])
    assert [first.result, second.result].count(2) == 1


def test_a_thread_that_has_ended_is_not_waited_for(runtime: Runtime) -> None:
    with InThread(lambda: [begun(runtime), begun(runtime)], stays=False) as other:
        assert other.is_done()
    with pytest.raises(axiom.MemoryBudgetError, match="of threads that have ended"):
        runtime.generate("Hello", max_tokens=1)


def test_a_stream_may_go_on_in_any_thread_that_has_asked_it_for_more(runtime: Runtime) -> None:
    """As under asyncio, where threads of a pool take turns with the pieces of all streams."""
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        streams = first.submit(lambda: [begun(runtime), begun(runtime)]).result(60)
        for stream in streams:
            second.submit(next, stream).result(60)
        waiting = first.submit(runtime.generate, "Hello", max_tokens=2, seed=1, ignore_eos=True)
        while not waiting.done() and not runtime.engine._waiting:
            time.sleep(0.001)
        for stream in streams:
            second.submit(stream.close).result(60)
        assert len(waiting.result(60).tokens) == 2


def test_what_nobody_can_reach_is_not_waited_for(runtime: Runtime) -> None:
    gc.disable()
    try:
        for make in (begun, Runtime.session):
            circle: list[object] = [make(runtime)]
            circle.append(circle)
        del circle
        assert len(runtime.generate("Hello", max_tokens=2, seed=1, ignore_eos=True).tokens) == 2
    finally:
        gc.enable()


def test_streams_that_were_left_are_not_waited_for_without_end(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axiom.generation.shared_engine._PATIENCE_S", 0.3)
    with InThread(lambda: [begun(runtime), begun(runtime)], stays=True) as other:
        assert other.is_done()
        with pytest.raises(axiom.MemoryBudgetError, match="none of the streams that hold them has been asked for more"):
            runtime.generate("Hello", max_tokens=1)


def test_one_who_waits_can_time_out_and_be_cancelled(runtime: Runtime) -> None:
    with InThread(lambda: [begun(runtime), begun(runtime)], stays=True) as other:
        assert other.is_done()
        begin = time.perf_counter()
        late = runtime.generate("Hello", max_tokens=1, timeout=0.2)
        assert (late.finish_reason, late.tokens) == ("timeout", ())
        assert 0.2 <= time.perf_counter() - begin < 20
        stream = runtime.stream("Hello", max_tokens=1)
        canceller = threading.Timer(0.1, stream.cancel)
        canceller.start()
        assert list(stream) == []
        assert stream.result.finish_reason == "cancelled"


def test_the_time_that_a_sequence_was_waited_for_is_in_the_timeout_and_not_in_the_timings(runtime: Runtime) -> None:
    hold_s = 2.0
    held = threading.Event()

    def hold() -> None:
        with begun(runtime), begun(runtime):
            held.set()
            time.sleep(hold_s)

    with InThread(hold, stays=False):
        assert held.wait(60)
        begin = time.perf_counter()
        got = runtime.generate("Hello", max_tokens=1, timeout=60, seed=1)
        waited_s = time.perf_counter() - begin
    assert got.finish_reason in ("length", "eos")
    assert got.timings.prefill_s < max(0.0, waited_s - hold_s / 4)
