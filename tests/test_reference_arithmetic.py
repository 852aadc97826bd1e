"""exp, silu, sum16, half floats and activations of the reference, against the text of docs/arithmetic.md."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from axiom.reference.arithmetic.activation import pad_to_blocks, quantize
from axiom.reference.arithmetic.elementary import exp, silu, sum16
from axiom.reference.arithmetic.half import bf16_to_f32, f16_to_f32, f32_to_f16

f32 = np.float32
ANY_F32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def bits(x: object) -> int:
    return int(np.asarray(x, np.float32).view(np.uint32))


def constant(pattern: int) -> np.float32:
    return f32(struct.unpack("<f", struct.pack("<I", pattern))[0])


def exp_of_the_text(x: np.float32) -> np.float32:
    if math.isnan(x):
        return f32(np.nan)
    if x < -87:
        return f32(0)
    if x > 88:
        return f32(np.inf)
    n = np.rint(x * constant(0x3FB8AA3B))
    r = x - n * constant(0x3F318000)
    r = r - n * constant(0xB95E8083)
    p = constant(0x39506967)
    p = p * r + constant(0x3AB743CE)
    p = p * r + constant(0x3C088908)
    p = p * r + constant(0x3D2AA9C1)
    p = p * r + constant(0x3E2AAAAA)
    p = p * r + constant(0x3F000000)
    y = p * (r * r) + r
    y = y + f32(1)
    return constant(bits(y) + (int(n) << 23))


@settings(max_examples=2000, deadline=None)
@given(x=ANY_F32)
@example(x=-87.0)
@example(x=88.0)
@example(x=-0.0)
@example(x=math.nan)
@example(x=-math.inf)
@example(x=math.inf)
def test_exp_is_the_text(x: float) -> None:
    with np.errstate(all="ignore"):
        got, expected = exp(np.array([x], f32))[0], exp_of_the_text(f32(x))
    assert math.isnan(got) == math.isnan(expected)
    assert math.isnan(got) or bits(got) == bits(expected)


def test_exp_is_accurate_and_of_one_shape() -> None:
    x = np.linspace(-87, 88, 200_001).astype(f32)
    true = np.exp(x.astype(np.float64))
    error = np.abs(exp(x) - true) / np.spacing(true.astype(f32))
    assert error.max() < 1.1
    assert np.array_equal(exp(x.reshape(3, -1)), exp(x).reshape(3, -1))
    assert bits(exp(f32(0))) == bits(exp(f32(-0.0))) == bits(1.0)
    # The smallest and the largest finite results are normal numbers.
    assert exp(f32(-87)) >= np.finfo(f32).tiny
    assert np.isfinite(exp(f32(88)))


def test_silu() -> None:
    x = np.array([-200, -88.5, -1, -0.0, 0.0, 1, 50], f32)
    expected = x / (f32(1) + exp(-x))
    assert np.array_equal(silu(x).view(np.uint32), expected.view(np.uint32))
    assert bits(silu(f32(-200))) == bits(-0.0)  # -200 / infinity
    assert np.allclose(silu(x), x / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6)


@settings(max_examples=300, deadline=None)
@given(n=st.integers(0, 70), seed=st.integers(0, 2**32))
def test_sum16_is_the_text(n: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((2, n)).astype(f32)
    for row, got in zip(x, sum16(x), strict=True):
        p = [f32(0)] * 16
        for i, value in enumerate(row):
            p[i % 16] = p[i % 16] + value
        for half in (8, 4, 2, 1):
            p = [p[lane] + p[lane + half] for lane in range(half)]
        assert bits(got) == bits(p[0])


def test_sum16_starts_at_plus_zero() -> None:
    assert bits(sum16(np.full(3, -0.0, f32))) == bits(0.0)
    assert bits(sum16(np.zeros(0, f32))) == bits(0.0)


def test_halves() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    values = f16_to_f32(every)
    finite = np.isfinite(values)
    assert np.array_equal(f32_to_f16(values[finite]), every[finite])
    assert f32_to_f16(np.array([65519.996, 65520, -65520, 2**-25, 2**-25 * 1.0000001, 2**-24], f32)).tolist() == [
        0x7BFF, 0x7C00, 0xFC00, 0, 1, 1
    ]  # fmt: skip
    assert f32_to_f16(np.array([1 + 2**-11, 1 + 3 * 2**-11], f32)).tolist() == [0x3C00, 0x3C02]  # ties to even
    assert bf16_to_f32(np.array([0x3F80, 0xC000, 0x0001], np.uint16)).tolist() == [1.0, -2.0, 2.0**-133]
    assert np.array_equal(f16_to_f32(every.astype("<u2").view(np.uint8).reshape(-1, 2))[finite, 0], values[finite])


def quantize_of_the_text(block: np.ndarray) -> tuple[np.float32, list[int]]:
    a = max(bits(v) & 0x7FFFFFFF for v in block)
    if a >= 0x7F800000:
        return f32(np.nan), [0] * 32
    if a < 0x0D800000:
        return f32(0), [0] * 32
    largest = constant(a)
    inverse = f32(127) / largest
    return largest / f32(127), [int(np.rint(v * inverse)) for v in block]


@settings(max_examples=1000, deadline=None)
@given(
    x=arrays(f32, 32, elements=ANY_F32) | arrays(f32, 32, elements=st.floats(-3, 3, width=32)),
    scale=st.sampled_from([1.0, 2.0**-100, 2.0**-102, 2.0**-126, 1e30]),
)
def test_quantize_is_the_text(x: np.ndarray, scale: float) -> None:
    with np.errstate(all="ignore"):
        x = x * f32(scale)
        got = quantize(x[None])
        d, q = quantize_of_the_text(x)
        m = d * f32(sum(q))
    assert got.q[0, 0].tolist() == q
    assert (got.s0[0, 0], got.s1[0, 0]) == (sum(q[:16]), sum(q[16:]))
    for a, b in ((got.d[0, 0], d), (got.m[0, 0], m)):
        assert math.isnan(a) == math.isnan(b)
        assert math.isnan(a) or bits(a) == bits(b)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 100])
def test_the_last_block_is_padded(n: int) -> None:
    x = np.random.default_rng(n).standard_normal((3, n)).astype(f32)
    blocks = pad_to_blocks(x)
    assert blocks.shape == (3, -(-n // 32), 32)
    assert np.array_equal(blocks.reshape(3, -1)[:, :n], x)
    assert not blocks.reshape(3, -1)[:, n:].any()
    got = quantize(x)
    assert np.abs(got.q).max() == 127
    assert np.allclose((got.d[..., None] * got.q).reshape(3, -1)[:, :n], x, atol=np.abs(x).max() / 127)
