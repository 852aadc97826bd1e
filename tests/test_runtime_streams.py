"""Streams of a runtime, and the threads that share it: each gets what it would have got alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import axiom
from axiom.runtime import Runtime

pytestmark = pytest.mark.usefixtures("no_sequence_is_left_open")


def test_a_stream_gives_the_same_text(runtime: Runtime) -> None:
    expected = runtime.generate("Hello", max_tokens=30, seed=1)
    stream = runtime.stream("Hello", max_tokens=30, seed=1)
    with pytest.raises(RuntimeError, match="has not ended"):
        _ = stream.result
    pieces = list(stream)
    assert all(pieces)
    assert "\ufffd" not in pieces[0] or "\ufffd" in expected.text
    assert "".join(pieces) == expected.text == stream.result.text
    assert stream.result.tokens == expected.tokens
    assert list(stream) == []


def test_a_stream_can_be_cancelled(runtime: Runtime) -> None:
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    first = next(stream)
    stream.cancel()
    rest = list(stream)
    result = stream.result
    assert result.finish_reason == "cancelled"
    assert first + "".join(rest) == result.text
    assert len(result.tokens) < 20
    assert runtime.engine.n_open == 0


def test_a_stream_that_is_closed_while_another_thread_returns_its_piece(runtime: Runtime) -> None:
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    pieces, reached, go_on = stream._pieces, threading.Event(), threading.Event()

    def held_back() -> Iterator[Any]:
        try:
            for piece in pieces:
                reached.set()
                go_on.wait()
                yield piece
        finally:
            pieces.close()

    stream._pieces = held_back()  # type: ignore[assignment]
    thread = threading.Thread(target=next, args=(stream,))
    thread.start()
    reached.wait()
    stream.close()
    go_on.set()
    thread.join()
    # Nobody asks for another piece, and the stream is still known.
    assert stream.result.finish_reason == "cancelled"
    assert runtime.engine.n_open == 0


def test_a_stream_cancelled_before_it_began(runtime: Runtime) -> None:
    stream = runtime.stream("Hello")
    stream.cancel()
    assert list(stream) == []
    assert (stream.result.tokens, stream.result.finish_reason) == ((), "cancelled")


def test_leaving_or_dropping_a_stream_frees_its_sequence(runtime: Runtime) -> None:
    with runtime.stream("Hello", seed=1, ignore_eos=True) as stream:
        next(stream)
        assert runtime.engine.n_open == 1
    assert runtime.engine.n_open == 0
    assert stream.result.finish_reason == "cancelled"
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    next(stream)
    del stream
    gc.collect()
    assert runtime.engine.n_open == 0


def test_two_streams_take_turns(runtime: Runtime) -> None:
    expected = [runtime.generate(p, max_tokens=15, seed=2, ignore_eos=True).text for p in ("Hello", "Other")]
    streams = [runtime.stream(p, max_tokens=15, seed=2, ignore_eos=True) for p in ("Hello", "Other")]
    texts = ["", ""]
    while any(piece := [next(stream, "") for stream in streams]):
        texts = [text + new for text, new in zip(texts, piece, strict=True)]
    assert texts == expected


def test_an_interrupt_frees_the_sequence_and_keeps_what_there_was(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    text = next(stream)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runtime.engine, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(stream)
    assert runtime.engine.n_open == 0
    assert stream.result.finish_reason == "cancelled"
    assert stream.result.text.startswith(text)


# Threads


def test_threads_each_get_what_they_would_have_got_alone(runtime: Runtime) -> None:
    prompts = [f"Prompt number {i}" for i in range(6)]
    expected = [runtime.generate(prompt, max_tokens=10, seed=3).tokens for prompt in prompts]
    got: list[Any] = [None] * len(prompts)

    def work(i: int) -> None:
        # Six threads share four sequences, so some of them wait.
        got[i] = runtime.generate([prompts[i], prompts[i]], max_tokens=10, seed=3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [[c.tokens for c in pair] for pair in got] == [[tokens, tokens] for tokens in expected]


def test_sequences_run_out_with_an_error_when_sessions_hold_them_all(runtime: Runtime) -> None:
    sessions = [runtime.session() for _ in range(4)]
    with pytest.raises(
        axiom.MemoryBudgetError, match="all 4 sequences are held by sessions and by streams of this thread"
    ):
        runtime.generate("Hello", max_tokens=1)
    with pytest.raises(axiom.MemoryBudgetError, match="close one, or open the runtime"):
        runtime.session()
    sessions[0].close()
    assert len(runtime.generate(["Hello", "x"], max_tokens=2, seed=1)) == 2
    for session in sessions:
        session.close()


def test_waiting_for_oneself_is_an_error_and_for_another_thread_is_not(runtime: Runtime) -> None:
    streams = [runtime.stream("Hello", seed=1, ignore_eos=True) for _ in range(4)]
    for stream in streams:
        next(stream)
    with pytest.raises(axiom.MemoryBudgetError, match="streams of this thread"):
        runtime.generate("Hello", max_tokens=1)
    got: list[int] = []
    other = threading.Thread(target=lambda: got.append(len(runtime.generate("Hello", max_tokens=2, seed=1).tokens)))
    other.start()
    other.join(0.2)
    assert other.is_alive()
    streams[0].close()
    other.join(60)
    assert got == [2]
    for stream in streams:
        stream.close()


def test_a_stream_that_another_thread_iterates_is_ended_by_it(runtime: Runtime) -> None:
    stream = runtime.stream("Hello", seed=1, ignore_eos=True)
    begun = threading.Event()

    def work() -> None:
        for _ in stream:
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    stream.close()
    thread.join(60)
    assert stream.result.finish_reason in ("cancelled", "context")
