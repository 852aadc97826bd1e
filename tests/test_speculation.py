"""Speculation: the same tokens, text, receipts and session state as without, in fewer passes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import axiom
from axiom.generation.speculation import NgramDrafter
from axiom.runtime import Runtime
from tests.backends import BACKENDS
from tests.models import OFTEN, SMALLEST

MODEL = SMALLEST | {"n_ctx": 160}


@pytest.fixture(scope="module", params=BACKENDS)
def pair(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[tuple[Runtime, Runtime]]:
    """A runtime that speculates, and one that does not."""
    path = random_model(**MODEL)
    with (
        axiom.Runtime(path, backend=request.param, n_seq_max=4, threads=1, speculate=True) as ahead,
        axiom.Runtime(path, backend=request.param, n_seq_max=4, threads=1) as plain,
    ):
        yield ahead, plain


def outcome(completion: axiom.Completion) -> tuple[Any, ...]:
    """All of a completion that does not depend on time."""
    c = completion
    return c.text, c.tokens, c.finish_reason, c.usage, c.seed, c.logprobs, c.receipt


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    prompt=st.lists(st.integers(3, 299), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
    temperature=st.sampled_from([0.0, 0.05, 1.0, 3.0]),
    max_tokens=st.sampled_from([1, 2, 7, 60, None]),
    repeat_penalty=st.sampled_from([1.0, 1.3]),
    stop=st.sampled_from([(), ("aab",), ("b",)]),
)
def test_speculation_changes_nothing_but_the_passes(
    pair: tuple[Runtime, Runtime],
    prompt: list[int],
    seed: int,
    temperature: float,
    max_tokens: int | None,
    repeat_penalty: float,
    stop: tuple[str, ...],
) -> None:
    options: dict[str, Any] = {
        **OFTEN,
        "seed": seed,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "repeat_penalty": repeat_penalty,
        "stop": stop,
        "logprobs": 2,
        "receipt": True,
    }
    ahead, plain = (runtime.generate(prompt, **options) for runtime in pair)
    assert outcome(ahead) == outcome(plain)
    assert ahead.timings.decode_passes <= plain.timings.decode_passes == plain.timings.decode_tokens


def test_text_that_repeats_takes_fewer_passes(pair: tuple[Runtime, Runtime]) -> None:
    ahead, plain = (r.generate([5, 9, 17] * 4, max_tokens=120, seed=0, temperature=0.0, **OFTEN) for r in pair)
    assert outcome(ahead) == outcome(plain)
    assert plain.timings.tokens_per_pass == 1.0
    assert ahead.timings.tokens_per_pass > 1.5


def test_a_batch_speculates_each_for_itself(pair: tuple[Runtime, Runtime]) -> None:
    prompts = [[5, 9], [70, 71] * 20, list(range(3, 90)), [72]]
    ahead, plain = (r.generate(prompts, max_tokens=40, seed=3, temperature=0.5, **OFTEN) for r in pair)
    assert [outcome(completion) for completion in ahead] == [outcome(completion) for completion in plain]
    assert max(completion.timings.tokens_per_pass for completion in ahead) > 1.0


def test_sessions_hold_what_was_chosen_and_no_guess(pair: tuple[Runtime, Runtime]) -> None:
    for n_pieces in (1, 2, 3, 5, 8, 13, 100):
        states = []
        for runtime in pair:
            with runtime.session() as session:
                with session.stream([70, 71] * 8, max_tokens=40, temperature=0.0, **OFTEN) as stream:
                    for _ in itertools.islice(stream, n_pieces):
                        pass
                assert session.telemetry["n_computed"] <= len(session)
                after = session.generate([9], max_tokens=10, temperature=0.0, **OFTEN)
                states.append((session.tokens, after.tokens))
        assert states[0] == states[1], f"left after {n_pieces} pieces"


def test_drafts_are_what_followed_before() -> None:
    drafter = NgramDrafter()
    assert drafter.draft(5) == []
    drafter.extend([1, 2, 3, 4])
    assert drafter.draft(5) == []
    drafter.extend([9, 2, 3])
    assert drafter.draft(2) == [4, 9]
    assert drafter.draft(0) == []
    # The longest run that stood before decides, the latest occurrence of it.
    drafter.extend([5, 9, 2, 3])
    assert drafter.draft(1) == [5]


def test_drafts_grow_while_they_are_right_and_shrink_when_not() -> None:
    drafter = NgramDrafter()
    drafter.extend([1, 2] * 4)
    lengths = []
    for n_right in (None, None, None, 0, None):
        draft = drafter.draft(100)
        assert draft == [1, 2] * (len(draft) // 2) + [1] * (len(draft) % 2)
        lengths.append(len(draft))
        drafter.learn(len(draft), len(draft) if n_right is None else n_right)
    assert lengths == [4, 8, 16, 32, 2]
    drafter.learn(0, 0)
    assert len(drafter.draft(100)) == 4
