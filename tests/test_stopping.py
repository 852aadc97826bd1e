"""Cancellation and time limits: they take effect at a layer boundary, lose nothing, and leave the engine whole."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import axiom
from axiom.errors import PassStopped
from axiom.runtime import Runtime
from tests.backends import BACKENDS, ENGINES
from tests.models import SMALL

MODEL = SMALL | {"n_layer": 6, "n_ctx": 600}


@pytest.fixture(params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend=request.param, n_seq_max=3, threads=2) as opened:
        yield opened


def tokens(n: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(3, 300), k=n)


def test_a_stopped_pass_leaves_its_sequences_as_they_were(runtime: Runtime) -> None:
    flag = runtime.body.stop_flag(None)
    assert not flag.is_set()
    expected = runtime.logits(tokens(40))

    def stopped(engine: axiom.engine.Engine) -> np.ndarray:
        seq = engine.seq_new()
        engine.forward([seq], [tokens(40)[:30]], "none", None, flag)
        flag.set()
        with pytest.raises(PassStopped, match="as they were"):
            engine.forward([seq], [tokens(40)[30:]], "all", None, flag)
        assert engine.seq_len(seq) == 30
        rows = np.asarray(engine.forward([seq], [tokens(40)[30:]], "all"))
        engine.seq_free(seq)
        return rows

    assert (runtime.engine.call(stopped) == expected[30:]).all()
    assert flag.is_set()


def test_a_flag_is_set_when_its_time_is_over(runtime: Runtime) -> None:
    flag = runtime.body.stop_flag(0.02)
    assert not flag.is_set()
    time.sleep(0.03)
    assert flag.is_set()
    assert runtime.body.stop_flag(0).is_set()
    assert not runtime.body.stop_flag(1e300).is_set()
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"timeout: expected seconds from 0 up"):
            runtime.body.stop_flag(wrong)


def test_a_generation_ends_when_its_time_is_over(runtime: Runtime) -> None:
    before = runtime.generate(tokens(500), max_tokens=5, timeout=1e-6, seed=1)
    assert (before.finish_reason, before.tokens, before.text) == ("timeout", (), "")
    begin = time.perf_counter()
    endless = runtime.generate("Hello", timeout=0.3, seed=1, ignore_eos=True)
    seconds = time.perf_counter() - begin
    if endless.finish_reason == "timeout":  # else this machine filled the context first
        plain = runtime.generate("Hello", max_tokens=len(endless.tokens) or 1, seed=1, ignore_eos=True)
        assert endless.tokens == plain.tokens[: len(endless.tokens)]
        assert seconds >= 0.3
    assert runtime.engine.n_open == 0
    for wrong in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            runtime.generate("Hello", timeout=wrong)
    with pytest.raises(TypeError, match="timeout"):
        runtime.generate("Hello", timeout="soon")  # type: ignore[arg-type]


def test_one_that_is_over_does_not_hold_up_the_others(runtime: Runtime) -> None:
    prompts = [tokens(300, seed) for seed in range(2)]
    expected = [runtime.generate(prompt, max_tokens=4, seed=1) for prompt in prompts]
    requests = [runtime.checked_request({"max_tokens": 4, "seed": 1, **more}) for more in ({}, {"timeout": 1e-6})]
    generations = [runtime._start(prompt, request) for prompt, request in zip(prompts, requests, strict=True)]
    for _ in runtime.run(generations):
        pass
    assert generations[0].completion().tokens == expected[0].tokens
    assert generations[1].finish_reason == "timeout"


def test_cancelling_from_another_thread_ends_a_prompt_in_its_middle(runtime: Runtime) -> None:
    stream = runtime.stream(tokens(599), seed=1)
    canceller = threading.Timer(0.01, stream.cancel)
    canceller.start()
    pieces = list(stream)
    canceller.join()
    # However fast the machine is, what came before the end is what there is.
    assert "".join(pieces) == stream.result.text
    assert stream.result.finish_reason in ("cancelled", "context", "eos")
    assert runtime.engine.n_open == 0


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_ten_thousand_random_cancellations_leak_no_slab(backend: str, random_model: Callable[..., Path]) -> None:
    choose = random.Random(5)
    with axiom.Runtime(random_model(**MODEL), backend=backend, n_seq_max=3, threads=2) as runtime:

        def cancel_often(engine: axiom.engine.Engine) -> tuple[int, int]:
            seqs = [engine.seq_new() for _ in range(3)]
            n_stopped = 0
            for _ in range(10_000):
                chosen = choose.sample(seqs, choose.randint(1, 3))
                lengths = [engine.seq_len(seq) for seq in chosen]
                new = [tokens(choose.randint(1, 9), i) for i in range(len(chosen))]
                if max(lengths) + 9 > 600:
                    for seq in seqs:
                        engine.seq_rewind(seq, choose.randint(0, min(200, engine.seq_len(seq))))
                    continue
                try:
                    engine.forward(chosen, new, "last", None, runtime.body.stop_flag(choose.random() * 4e-4))
                except PassStopped:
                    n_stopped += 1
                    assert [engine.seq_len(seq) for seq in chosen] == lengths
            for seq in seqs:
                engine.seq_free(seq)
            return n_stopped, engine.info()["bytes_kv"]

        n_stopped, bytes_kv = runtime.engine.call(cancel_often)
        assert n_stopped > 100
        assert bytes_kv == 0
