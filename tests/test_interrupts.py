"""Ctrl-C and other signals raise between any two steps: nothing is lost, left open or computed wrongly afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import axiom
from axiom.runtime import Runtime
from tests.backends import BACKENDS, ENGINES
from tests.models import OFTEN, SMALLEST

MODEL = SMALLEST | {"n_ctx": 160}


@pytest.fixture(scope="module", params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    with axiom.Runtime(random_model(**MODEL), backend=request.param, n_seq_max=4, threads=1, speculate=True) as opened:
        yield opened


class Interrupt:
    """Raises KeyboardInterrupt as call `n` of a method of the engine returns."""

    def __init__(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, method: str, n: int):
        self._left = n
        self._call = getattr(runtime.engine, method)
        monkeypatch.setattr(runtime.engine, method, self)

    def __call__(self, *args: object, **kwargs: object) -> object:
        got = self._call(*args, **kwargs)
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt
        return got


def fresh(runtime: Runtime, tokens: tuple[int, ...], n: int = 5) -> tuple[int, ...]:
    """What a runtime without any memory generates after `tokens`."""
    return runtime.generate(list(tokens), max_tokens=n, seed=1, **OFTEN).tokens  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_append_leaves_the_session_as_it_was(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.setattr("axiom.session.CHUNK_TOKENS", 8)
    with runtime.session() as session:
        session.append([3] * 10)
        with monkeypatch.context() as patched:
            Interrupt(runtime, patched, "forward", n)
            with pytest.raises(KeyboardInterrupt):
                session.append([4] * 20)
        assert session.tokens == (3,) * 10
        assert session.telemetry["n_computed"] == session._n_pos() == 10
        assert session.generate(max_tokens=5, seed=1, **OFTEN).tokens == fresh(runtime, (3,) * 10)  # type: ignore[arg-type]


def test_saving_leaves_the_session_as_it_was(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with runtime.session() as session:
        session.advance_to([3] * 10)
        with monkeypatch.context() as patched:
            Interrupt(runtime, patched, "forward", 1)
            with pytest.raises(KeyboardInterrupt):
                session.save(tmp_path / "session")
        assert session.generate(max_tokens=5, seed=1, **OFTEN).tokens == fresh(runtime, (3,) * 10)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", range(1, 14))
def test_a_generation_leaves_a_session_that_goes_on(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """With guesses that the engine has computed and nobody has chosen."""
    with runtime.session() as session:
        with monkeypatch.context() as patched:
            Interrupt(runtime, patched, "forward", n)
            with pytest.raises(KeyboardInterrupt):
                session.generate([70, 71, 72] * 5, max_tokens=100, seed=1, **OFTEN)  # type: ignore[arg-type]
        before = session.tokens
        assert session.telemetry["n_computed"] <= len(before)
        assert session.generate(max_tokens=5, seed=1, **OFTEN).tokens == fresh(runtime, before)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sequences_that_nobody_was_told_of_are_found(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    for _ in range(4):
        with monkeypatch.context() as patched:
            Interrupt(runtime, patched, "call", n)
            with pytest.raises(KeyboardInterrupt):
                runtime.generate([[5], [6], [7]], max_tokens=2, seed=1)
    assert len(runtime.generate([[5]] * 4, max_tokens=2, seed=1)) == 4
    assert runtime.engine.n_open == 0


PROGRAM = """
import random, signal, sys
import axiom

def raised(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, raised)
chance = random.Random(1)
runtime = axiom.Runtime(sys.argv[1], backend=sys.argv[2], n_seq_max=4, threads=1, speculate=True)
options = {"logit_bias": {token: 100.0 for token in (70, 71, 72)}, "ignore_eos": True, "seed": 1}
session = runtime.session()
n_interrupt = 0
for i in range(int(sys.argv[3])):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 4e-3))
            if i % 3 == 0:
                runtime.generate([[5], [6], [7]], max_tokens=20, **options)
            elif i % 3 == 1:
                session.append([70, 71, 72] * 3)
            else:
                session.generate([70, 71], max_tokens=30, **options)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        n_interrupt += 1
    tokens = session.tokens[-60:]
    if i % 5 == 0 and tokens:
        session.advance_to(tokens)
        got = session.generate([70], max_tokens=4, **options).tokens
        assert got == runtime.generate([*tokens, 70], max_tokens=4, **options).tokens, i
    elif len(session) > 100:
        session.rewind(3)
assert n_interrupt > 0
session.close()
assert len(runtime.generate([[5]] * 4, max_tokens=2, **options)) == 4
print(runtime.engine.n_open)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_signals_at_any_moment(random_model: Callable[..., Path], backend: str) -> None:
    n = "60" if backend == "reference" else "600"
    command = [sys.executable, "-c", PROGRAM, str(random_model(**MODEL)), backend, n]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr[-2000:]
