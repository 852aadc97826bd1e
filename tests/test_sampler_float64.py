"""exp, ln, sin and cos in binary64: the same bits in both bodies, and close to the true values."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom import _native
from axiom.reference.arithmetic import float64 as reference
from axiom.reference.sample.random import philox4x32, uniform

native = _native.testing.float64
NAMES = ["exp", "ln", "sin", "cos"]

# Around every change of path: reduction boundaries, powers of two, the ends of the exponent range, the limit of the
# trigonometric functions, and the special values.
CORNERS = [0.0, 5e-324, 2.2250738585072014e-308, 1e-300, 1e-9, 0.5, math.sqrt(0.5), 1.0, math.sqrt(2.0), 2.0, math.e]
CORNERS += [
    math.log(2) / 2,
    math.log(2),
    709.0,
    709.782712893384,
    709.79,
    745.0,
    745.1332191019412,
    745.14,
    746.0,
    747.0,
]
CORNERS += [k * math.pi / 4 for k in range(1, 18)] + [2.0**21, 2.0**21 + 1, 1e22, 1.7976931348623157e308, math.inf]
CORNERS = [
    sign * neighbour
    for corner in CORNERS
    for neighbour in (math.nextafter(corner, -math.inf), corner, math.nextafter(corner, math.inf))
    for sign in (1.0, -1.0)
] + [math.nan]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(np.asarray(a).view(np.uint64), np.asarray(b).view(np.uint64)))


@pytest.mark.parametrize("name", NAMES)
def test_both_bodies_give_the_same_bits_at_the_corners(name: str) -> None:
    x = np.array(CORNERS)
    expected = getattr(reference, name)(x)
    assert same_bits(getattr(native, name)(x), expected)
    for one, value in zip(x, expected, strict=True):
        scalar = getattr(reference, name)(float(one))
        assert isinstance(scalar, np.float64)
        assert same_bits(scalar, value), "a number alone is computed as in an array"


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(), min_size=1, max_size=50), st.integers(0, 2**32), st.sampled_from([1.0, 50.0, 700.0, 2.0**21])
)
def test_both_bodies_give_the_same_bits(name: str, chosen: list[float], seed: int, reach: float) -> None:
    x = np.array(chosen + list(np.random.default_rng(seed).uniform(-reach, reach, 200)))
    assert same_bits(getattr(native, name)(x), getattr(reference, name)(x))


def ulps_apart(got: float, expected: float) -> float:
    return abs(got - expected) / math.ulp(expected)


NEAR_QUARTER_TURNS = [math.nextafter(n * math.pi / 2, to) for n in range(1, 1_300_000, 4999) for to in (0.0, math.inf)]


@pytest.mark.parametrize(
    ("name", "true", "low", "high"),
    [
        ("exp", math.exp, -1.0, 1.0),
        ("exp", math.exp, -745.0, 709.7),
        ("ln", math.log, 0.25, 4.0),
        ("ln", math.log, 0.0, 1e-310),
        ("ln", math.log, 0.0, 1e300),
        ("sin", math.sin, -4.0, 4.0),
        ("sin", math.sin, -(2.0**21), 2.0**21),
        ("cos", math.cos, -4.0, 4.0),
        ("cos", math.cos, -(2.0**21), 2.0**21),
    ],
)
def test_error_is_below_two_ulp(name: str, true: Callable[[float], float], low: float, high: float) -> None:
    x = np.random.default_rng(1).uniform(low, high, 20_000)
    if true in (math.sin, math.cos):
        x = np.concatenate([x, NEAR_QUARTER_TURNS])
    x = x[x != 0.0]
    got = getattr(reference, name)(x)
    assert max(ulps_apart(a, true(b)) for a, b in zip(got.tolist(), x.tolist(), strict=True)) <= 2.0


def test_special_values() -> None:
    assert reference.exp([0.0, -0.0, -np.inf, np.inf]).tolist() == [1.0, 1.0, 0.0, np.inf]
    assert reference.ln([1.0, 0.0, -0.0, np.inf]).tolist() == [0.0, -np.inf, -np.inf, np.inf]
    assert reference.exp(-745.0) == 5e-324
    assert np.isnan(reference.ln(-5e-324))
    for function in (reference.sin, reference.cos):
        assert np.isfinite(function(2.0**21))
        assert np.isnan(function([math.nextafter(2.0**21, math.inf), np.inf, np.nan])).all()
    assert reference.exp(np.zeros((2, 3))).shape == (2, 3)


def test_philox_gives_the_published_answers() -> None:
    """`kat_vectors` of Random123, the library of the generator's authors."""
    full = 0xFFFFFFFF
    assert philox4x32((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox4x32((full,) * 4, (full,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    pi = philox4x32((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0))
    assert pi == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def test_uniform_takes_the_first_53_bits() -> None:
    assert uniform(0, 0) == (0x6627E8D5E169C58D >> 11) / 2**53
    numbers = [uniform(2**64 - 1, position) for position in range(2000)]
    assert all(0.0 <= number < 1.0 for number in numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.03
