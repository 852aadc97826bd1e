"""The sampler of both bodies: the same tokens, by the rules of docs/sampling.md."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import axiom.reference.sample as reference
from axiom import _native

BODIES = [pytest.param(_native.Sampler, id="native"), pytest.param(reference.Sampler, id="reference")]
SHAPES = ("normal", "ties", "peaked", "flat", "huge", "tiny", "masked")


def logits_of(n_vocab: int, shape: str, seed: int) -> np.ndarray:
    """Logits with the trouble that `shape` names; `seed` chooses the numbers."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 3.0, n_vocab)
    if shape == "ties":
        logits = np.round(logits) * np.where(rng.random(n_vocab) < 0.5, 1.0, -1.0)
    elif shape == "peaked":
        logits[rng.integers(n_vocab)] += 40.0
    elif shape == "flat":
        logits[:] = rng.choice([0.0, -0.0, 1.5], 1)
    elif shape == "huge":
        logits *= 1e37
    elif shape == "tiny":
        logits *= 1e-42
    elif shape == "masked":
        logits[rng.random(n_vocab) < 0.7] = -np.inf
        logits[rng.integers(n_vocab)] = 1.0
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(logits.astype(np.float32), None, np.finfo(np.float32).max)


sizes = st.one_of(
    st.sampled_from([1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1025]), st.integers(1, 2000)
)
probabilities = st.one_of(st.sampled_from([0.0, 0.05, 0.5, 0.9, 0.95, 1.0]), st.floats(0.0, 1.0))


@st.composite
def cases(draw: Any) -> tuple[int, dict[str, Any], np.ndarray, list[int], int]:
    n_vocab = draw(sizes)
    tokens = st.integers(0, n_vocab - 1)
    temperatures = st.one_of(st.sampled_from([0.0, 5e-324, 1e-300, 0.1, 0.8, 1.0, 2.0, 1e300]), st.floats(0.01, 10.0))
    parameters = {
        "temperature": draw(temperatures),
        "top_k": draw(st.one_of(st.just(0), st.integers(1, 100), st.integers(1, n_vocab + 1))),
        "top_p": draw(probabilities),
        "min_p": draw(st.one_of(st.just(0.0), probabilities)),
        "typical_p": draw(st.one_of(st.just(1.0), probabilities)),
        "repeat_penalty": draw(st.one_of(st.just(1.0), st.floats(0.001, 1000.0))),
        "presence_penalty": draw(st.one_of(st.just(0.0), st.floats(-1000.0, 1000.0))),
        "frequency_penalty": draw(st.one_of(st.just(0.0), st.floats(-1000.0, 1000.0))),
        "repeat_last_n": draw(st.one_of(st.sampled_from([-1, 0, 64]), st.integers(1, 300))),
        "logit_bias": draw(
            st.dictionaries(tokens, st.one_of(st.just(-math.inf), st.floats(-1e9, 1e9)), max_size=min(8, n_vocab - 1))
        ),
        "seed": draw(st.integers(0, 2**64 - 1)),
    }
    logits = logits_of(n_vocab, draw(st.sampled_from(SHAPES)), draw(st.integers(0, 2**32)))
    n_history = draw(st.integers(0, 200))
    history = np.random.default_rng(n_history).integers(0, n_vocab, n_history) % draw(st.integers(1, n_vocab))
    return n_vocab, parameters, logits, history.tolist(), draw(st.integers(0, 2**32 - 1))


def answer(method: Any, *arguments: Any) -> Any:
    """What comes of a call: a value, or why there is none."""
    try:
        return method(*arguments)
    except ValueError as refused:
        return str(refused)


@settings(max_examples=1500, deadline=None)
@given(cases())
def test_both_bodies_choose_the_same_token(case: tuple[int, dict[str, Any], np.ndarray, list[int], int]) -> None:
    n_vocab, parameters, logits, history, position = case
    native = _native.Sampler(n_vocab, **parameters)
    twin = reference.Sampler(n_vocab, **parameters)
    assert native.canonical_bytes() == twin.canonical_bytes()
    # Three draws from one sampler: nothing of one choice may leak into the next.
    for step in range(3):
        arguments = (np.roll(logits, step), history, (position + step) % 2**32)
        expected = answer(twin.sample, *arguments)
        assert isinstance(expected, int) or "every token is excluded" in expected
        assert answer(native.sample, *arguments) == expected
        # The probabilities show bits of the sums that a token alone would hide.
        assert answer(native.distribution, *arguments[:2]) == answer(twin.distribution, *arguments[:2])


@settings(max_examples=300, deadline=None)
@given(sizes, st.sampled_from(SHAPES[:-1]), st.integers(0, 2**32), st.data())
def test_both_bodies_give_the_same_logprobs(n_vocab: int, shape: str, seed: int, data: Any) -> None:
    logits = logits_of(n_vocab, shape, seed)
    token = data.draw(st.integers(0, n_vocab - 1))
    top_n = data.draw(st.integers(0, n_vocab))
    chosen, top = _native.Sampler(n_vocab).logprobs(logits, token, top_n)
    assert (chosen, top) == reference.Sampler(n_vocab).logprobs(logits, token, top_n)
    order = sorted(range(n_vocab), key=lambda t: (-logits[t], t))
    assert [t for t, _ in top] == order[:top_n]


@pytest.mark.parametrize("body", BODIES)
def test_logprobs_are_logarithms_of_probabilities(body: Any) -> None:
    logits = logits_of(500, "normal", 5)
    wide = logits.astype(np.float64)
    expected = wide - (np.log(np.sum(np.exp(wide - wide.max()))) + wide.max())
    chosen, top = body(500).logprobs(logits, 123, 500)
    assert chosen == pytest.approx(expected[123], rel=1e-13)
    assert math.fsum(math.exp(value) for _, value in top) == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("n_vocab", [1, 2, 40000])
def test_greedy_takes_the_largest_logit_and_the_lower_of_ties(body: Any, n_vocab: int) -> None:
    logits = np.zeros(n_vocab, np.float32)
    assert body(n_vocab, temperature=0.0, top_k=1, top_p=0.0).sample(logits, [], 0) == 0
    logits[n_vocab // 2 :] = 1.0
    logits[0] = -0.0
    assert body(n_vocab, temperature=0.0).sample(logits, [], 0) == n_vocab // 2
    assert body(n_vocab, temperature=0.0, logit_bias={0: 2.0}).sample(logits, [], 0) == 0


# Logits of probabilities 1/2, 1/4, 1/8, 1/16, 1/16, in no order: which tokens can come, rule by rule.
PROBABILITIES = {3: 0.5, 1: 0.25, 4: 0.125, 0: 0.0625, 2: 0.0625}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("parameters", "possible"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {3, 1}),
        ({"top_k": 4}, {3, 1, 4, 0}),
        ({"top_p": 0.6}, {3, 1}),
        ({"top_p": 0.0}, {3}),
        ({"min_p": 0.2}, {3, 1, 4}),
        ({"min_p": 1.0}, {3}),
        # Surprise in bits: 1, 2, 3, 4, 4; the entropy is 1.875, so 1/4 is the most typical, then 1/2, then 1/8.
        ({"typical_p": 0.2}, {1}),
        ({"typical_p": 0.3}, {1, 3}),
        ({"typical_p": 0.8}, {1, 3, 4}),
        # Typical goes first: of 1/4 and 1/2 it leaves, top-p then keeps 2/3.
        ({"typical_p": 0.3, "top_p": 0.5}, {3}),
        ({"top_k": 3, "top_p": 0.9}, {3, 1, 4}),
        ({"top_k": 3, "top_p": 0.8}, {3, 1}),
        ({"logit_bias": {3: -math.inf}}, {0, 1, 2, 4}),
        ({"logit_bias": {3: -math.inf}, "min_p": 0.9}, {1}),
    ],
)
def test_each_rule_leaves_the_tokens_it_should(body: Any, parameters: dict[str, Any], possible: set[int]) -> None:
    logits = np.array([math.log(PROBABILITIES[token]) for token in range(5)], np.float32)
    sampler = body(5, **parameters)
    assert {sampler.sample(logits, [], position) for position in range(300)} == possible
    distribution = dict(sampler.distribution(logits, []))
    assert distribution.keys() == possible
    left = sum(PROBABILITIES[token] for token in possible)
    for token in possible:
        assert distribution[token] == pytest.approx(PROBABILITIES[token] / left, rel=1e-6)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("parameters", "possible"),
    [
        # Four equal tokens of exactly 1/4: top-p ends at the token that reaches it, typical at the one that exceeds it.
        ({"top_p": 0.5}, [0, 1]),
        ({"top_p": math.nextafter(0.5, 1.0)}, [0, 1, 2]),
        ({"typical_p": 0.5}, [0, 1, 2]),
        ({"typical_p": math.nextafter(0.5, 0.0)}, [0, 1]),
        ({"min_p": 1.0}, [0, 1, 2, 3]),
        ({"top_k": 3}, [0, 1, 2]),
    ],
)
def test_bounds_that_are_met_exactly(body: Any, parameters: dict[str, Any], possible: list[int]) -> None:
    distribution = body(4, **parameters).distribution(np.full(4, -2.5, np.float32), [])
    assert distribution == [(token, 1 / len(possible)) for token in possible]


@pytest.mark.parametrize("body", BODIES)
def test_draws_follow_the_probabilities(body: Any) -> None:
    n_draws = 4000
    logits = np.array([math.log(PROBABILITIES[token]) for token in range(5)], np.float32)
    counts = np.bincount([body(5, seed=11).sample(logits, [], position) for position in range(n_draws)], minlength=5)
    for token, probability in PROBABILITIES.items():
        deviation = math.sqrt(n_draws * probability * (1 - probability))
        assert abs(counts[token] - n_draws * probability) < 5 * deviation


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("parameters", "history", "expected"),
    [
        ({}, [0, 0, 0], 0),
        ({"repeat_penalty": 3.0}, [0], 1),
        ({"repeat_penalty": 3.0}, [0, 1], 2),
        ({"repeat_penalty": 3.0, "repeat_last_n": 1}, [0, 2], 0),
        ({"repeat_penalty": 3.0, "repeat_last_n": 0}, [0], 0),
        ({"repeat_penalty": 3.0, "repeat_last_n": -1}, [0] + 100 * [3], 1),
        ({"repeat_penalty": 3.0, "repeat_last_n": 64}, [0] + 64 * [3], 0),
        # The penalty multiplies a negative logit, so it never makes a token likelier.
        ({"repeat_penalty": 3.0, "logit_bias": {0: -2.0, 1: -2.1, 2: -9.0, 3: -9.0}}, [0], 1),
        # 2.0 - 0.6 stays above 1.3 for presence however often, and not for frequency.
        ({"presence_penalty": 0.6}, [0, 0], 0),
        ({"frequency_penalty": 0.6}, [0, 0], 1),
        ({"frequency_penalty": 0.6}, [0], 0),
        ({"frequency_penalty": -0.4}, [1, 1], 1),
    ],
)
def test_penalties(body: Any, parameters: dict[str, Any], history: list[int], expected: int) -> None:
    logits = np.array([2.0, 1.3, 1.2, 0.0], np.float32)
    parameters = {"temperature": 0.0, **parameters}
    if parameters.get("logit_bias"):
        logits = np.zeros(4, np.float32)
    assert body(4, **parameters).sample(logits, history, len(history)) == expected


@pytest.mark.parametrize("body", BODIES)
def test_seed_and_position_are_the_whole_state(body: Any) -> None:
    logits = logits_of(1000, "normal", 3)
    first = [body(1000, seed=7).sample(logits, [], position) for position in range(20)]
    sampler = body(1000, seed=7)
    assert [sampler.sample(logits, [], position) for position in reversed(range(20))] == first[::-1]
    assert [body(1000, seed=8).sample(logits, [], position) for position in range(20)] != first


def test_a_real_vocabulary() -> None:
    """150,000 tokens: the native ways around sorting them all, each against the reference."""
    n_vocab = 150_001
    for parameters in (
        {},
        {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8},
        {"top_p": 0.999},
        {"typical_p": 0.7},
        {"top_k": 100_000, "temperature": 5.0},
        {"min_p": 0.001, "repeat_penalty": 1.1},
    ):
        native, twin = _native.Sampler(n_vocab, **parameters), reference.Sampler(n_vocab, **parameters)
        for position, shape in enumerate(("normal", "ties", "flat")):
            logits = logits_of(n_vocab, shape, position)
            arguments = (logits, list(range(0, 3000, 7)), position)
            assert native.sample(*arguments) == twin.sample(*arguments)
            assert native.distribution(*arguments[:2]) == twin.distribution(*arguments[:2])


@pytest.mark.parametrize("table", _native.testing.kernels.tables())
@pytest.mark.parametrize("n_vocab", [1, 15, 16, 40, 5003])
def test_every_table_weighs_the_same(n_vocab: int, table: str) -> None:
    twin, native = reference.Sampler(n_vocab), _native.Sampler(n_vocab, kernels=table)
    for shape in SHAPES[:-1]:
        logits = logits_of(n_vocab, shape, 5)
        assert native.distribution(logits, []) == twin.distribution(logits, [])
        assert native.logprobs(logits, 0, 1) == twin.logprobs(logits, 0, 1)


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match='no kernel table is named "abacus"'):
        _native.Sampler(4, kernels="abacus")


def test_a_strided_row_is_read_as_numpy_reads_it() -> None:
    logits = logits_of(600, "normal", 1)[::-2]
    assert _native.Sampler(300).sample(logits, [], 4) == reference.Sampler(300).sample(logits, [], 4)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -0.5}, r"temperature must be finite and at least 0 \(0 is greedy\), got -0\.5"),
    ({"temperature": math.nan}, "temperature must be finite"),
    ({"temperature": math.inf}, "temperature must be finite"),
    ({"top_k": -1}, r"top_k must be from 0 to 4294967295 \(0 keeps every token\), got -1"),
    ({"top_k": 2**200}, f"top_k must be .* got {2**200}"),
    ({"top_p": 1.5}, r"top_p must be from 0 to 1 \(1 keeps every token\), got 1\.5"),
    ({"min_p": -0.25}, r"min_p must be from 0 to 1 \(0 keeps every token\), got -0\.25"),
    ({"typical_p": math.nan}, "typical_p must be from 0 to 1"),
    ({"repeat_penalty": 0.0}, r"repeat_penalty must be from 0\.001 to 1000"),
    ({"presence_penalty": math.inf}, "presence_penalty must be from -1000 to 1000"),
    ({"frequency_penalty": 1e9}, "frequency_penalty must be from -1000 to 1000"),
    ({"repeat_last_n": -2}, "repeat_last_n must be from -1 to 2147483647 .*, got -2"),
    ({"seed": -1}, "seed must be from 0 to 18446744073709551615, got -1"),
    ({"seed": 2**64}, "seed must be .*, got 18446744073709551616"),
    ({"logit_bias": {8: 1.0}}, "token of logit_bias must be from 0 to 7, got 8"),
    ({"logit_bias": {-1: 1.0}}, "token of logit_bias must be from 0 to 7, got -1"),
    ({"logit_bias": {3: math.inf}}, "logit_bias of token 3 must be from -1e9 to 1e9, or -inf .*, got inf"),
    ({"logit_bias": {3: math.nan}}, "logit_bias of token 3 must be"),
    ({"n_vocab": 0}, "n_vocab must be from 1 to 2147483648, got 0"),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("parameters", "message"), REFUSED)
def test_settings_out_of_range_are_refused_by_name(body: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        body(**{"n_vocab": 8, **parameters})


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "parameters", [{"temperature": "hot"}, {"top_k": 1.0}, {"seed": None}, {"logit_bias": [1.0]}, {"n_vocab": "8"}]
)
def test_settings_of_the_wrong_type_are_refused(body: Any, parameters: dict[str, Any]) -> None:
    (name,) = parameters
    with pytest.raises(TypeError, match=name):
        body(**{"n_vocab": 8, **parameters})


@pytest.mark.parametrize("body", BODIES)
def test_arguments_are_checked(body: Any) -> None:
    logits = np.zeros(8, np.float32)
    sampler = body(8, repeat_penalty=1.5)
    with pytest.raises(ValueError, match="one value for each of the 8 tokens, got 7"):
        sampler.sample(logits[:7], [], 0)
    for wrong in (logits.astype(np.float64), logits.reshape(2, 4), [0.0] * 8):
        with pytest.raises(TypeError, match="one-dimensional float32"):
            sampler.sample(wrong, [], 0)
    with pytest.raises(ValueError, match="token of history must be from 0 to 7, got 8"):
        sampler.sample(logits, [1, 8], 0)
    with pytest.raises(ValueError, match="position must be from 0 to 4294967295, got -1"):
        sampler.sample(logits, [], -1)
    with pytest.raises(ValueError, match="token must be from 0 to 7, got 8"):
        sampler.logprobs(logits, 8)
    with pytest.raises(ValueError, match="top_n must be from 0 to 8, got 9"):
        sampler.logprobs(logits, 0, 9)
    assert body(8).sample(logits, [99], 0) < 8, "without penalties the history is not read"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("parameters", [{"temperature": 0.0}, {}, {"temperature": 0.0, "logit_bias": {1: 1.0}}])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_damaged_logits_are_refused(body: Any, parameters: dict[str, Any], bad: float) -> None:
    logits = np.zeros(8, np.float32)
    logits[5:] = bad
    with pytest.raises(ValueError, match="logit of token 5 must be finite, or -inf"):
        body(8, **parameters).sample(logits, [], 0)
    with pytest.raises(ValueError, match="logit of token 5 must be finite, got"):
        body(8, **parameters).logprobs(logits, 0)
    logits[:] = -np.inf
    with pytest.raises(ValueError, match="every token is excluded"):
        body(8, **parameters).sample(logits, [], 0)
