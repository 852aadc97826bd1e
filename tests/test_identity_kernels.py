"""Every kernel of every table that this processor runs gives the bits of the reference.

Each example is computed once by the reference and once by each table. The tables are held to one another over many
more sizes in the core's own conformance tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.reference import testing as reference
from axiom.reference.arithmetic.half import f16_to_f32
from tests import blocks as sources

native: Any = pytest.importorskip("axiom._native", reason="the extension is not built").testing.kernels

TABLES = native.tables()
FORMATS = sources.FORMATS
SEEDS = st.integers(0, 2**32 - 1)
f32 = np.float32


def assert_same(got: Any, expected: Any, where: str) -> None:
    """Equal bit for bit; a NaN equals any other, for the contract leaves its payload open."""
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for part, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert_same(a, b, f"{where}, part {part}")
        return
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), where
    if got.dtype == f32:
        nan = np.isnan(got) & np.isnan(expected)
        got, expected = (np.where(nan, 0, np.ascontiguousarray(x).view(np.uint32)) for x in (got, expected))
    differ = np.argwhere(got != expected)
    assert not len(differ), f"{where}: {len(differ)} of {got.size} differ, the first at {differ[0].tolist()}"


def check(kernel: str, *arguments: Any) -> None:
    """Every table against the reference."""
    with np.errstate(all="ignore"):
        expected = getattr(reference, kernel)(*arguments)
    for table in TABLES:
        assert_same(getattr(native, kernel)(table, *arguments), expected, f"{kernel} of {table}")


def any_floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """f32 of one of several kinds: ordinary, of all sizes, any bits at all, equal in size, ties of a rounding, tiny."""
    n = int(np.prod(shape))
    kind = rng.integers(6)
    x = rng.standard_normal(n).astype(f32)
    if kind == 1:
        x = x * (f32(10) ** rng.integers(-37, 37, n).astype(f32))
    elif kind == 2:
        x = rng.integers(0, 1 << 32, n, dtype=np.uint32).view(f32)
    elif kind == 3:
        x = np.where(rng.random(n) < 0.5, f32(1.75), f32(-1.75))
    elif kind == 4:
        x = ((rng.integers(0, 255, n) - 127) / 2).astype(f32)
    elif kind == 5:
        x = x * f32(2.0**-101)
    return np.ascontiguousarray(x.reshape(shape))


def finite_floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """As `any_floats`, within the range where products stay finite."""
    x = any_floats(rng, *shape)
    return np.where(np.isfinite(x) & (np.abs(x) < 1e8), x, f32(-3))


def test_the_portable_table_is_here() -> None:
    assert "portable" in TABLES


def test_exp_at_every_exponent() -> None:
    # Every sign and exponent with mantissas at both ends and between, so every branch and every n.
    mantissas = np.concatenate([np.arange(0, 4), np.linspace(4, (1 << 23) - 1, 400).astype(np.int64)])
    patterns = (np.arange(512, dtype=np.int64)[:, None] << 23 | mantissas).ravel().astype(np.uint32)
    x = np.concatenate([patterns.view(f32), np.linspace(-90, 90, 200_001).astype(f32)])
    check("exp", x)


def test_to_f16_at_every_half_way() -> None:
    every = f16_to_f32(np.arange(1 << 16, dtype=np.uint16))
    every = every[np.isfinite(every)]
    bits = every.view(np.uint32).astype(np.int64)[:, None] + np.array([-1, 0, 1, 0xFFF, 0x1000, 0x1001])
    x = np.concatenate([(bits & 0xFFFFFFFF).astype(np.uint32).ravel().view(f32), np.array([np.inf, -np.inf], f32)])
    x = np.concatenate([x[~np.isnan(x)], np.logspace(-50, 5, 20_001).astype(f32)])
    check("to_f16", x)


@settings(max_examples=1000, deadline=None)
@given(seed=SEEDS, n_tokens=st.integers(1, 9), n=st.integers(1, 200))
def test_quantize(seed: int, n_tokens: int, n: int) -> None:
    check("quantize", any_floats(np.random.default_rng(seed), n_tokens, n))


@settings(max_examples=1000, deadline=None)
@given(seed=SEEDS, n_tokens=st.integers(1, 3), n=st.integers(1, 200))
def test_rms_norm(seed: int, n_tokens: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    check("rms_norm", any_floats(rng, n_tokens, n), finite_floats(rng, n), 1e-5)


@settings(max_examples=1000, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 100))
def test_silu_mul(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    check("silu_mul", any_floats(rng, n), finite_floats(rng, n))


@settings(max_examples=300, deadline=None)
@given(
    seed=SEEDS, n_tokens=st.integers(1, 3), n_head=st.integers(1, 3), n_pair=st.integers(1, 40), rest=st.integers(0, 3)
)
def test_rope(seed: int, n_tokens: int, n_head: int, n_pair: int, rest: int) -> None:
    rng = np.random.default_rng(seed)
    x = finite_floats(rng, n_tokens, n_head, 2 * n_pair + rest)
    c, s = finite_floats(rng, n_tokens, n_pair), finite_floats(rng, n_tokens, n_pair)
    for pairing in ("norm", "neox"):
        check("rope", x, c, s, pairing)


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(1, 40), n_block=st.integers(1, 20))
def test_pack_and_dequantize(fmt: str, seed: int, n_rows: int, n_block: int) -> None:
    n_weights, n_bytes = sources.block_shape(fmt)
    n_block = n_block if n_weights < 256 else 1 + n_block // 8
    cols = n_block * n_weights if n_weights > 1 else n_block * 13
    rows = np.random.default_rng(seed).integers(0, 256, (n_rows, cols // n_weights * n_bytes), dtype=np.uint8)
    panels = reference.pack(fmt, rows, cols)
    assert native.pack(fmt, rows, cols) == panels
    assert np.array_equal(native.unpack(fmt, panels, n_rows, cols), rows)
    with np.errstate(all="ignore"):
        assert_same(native.dequantize(fmt, rows, cols), reference.dequantize(fmt, rows, cols), "dequantize")


@pytest.mark.parametrize("fmt", FORMATS)
@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n_rows=st.integers(1, 35), n_tokens=st.integers(1, 10), n_block=st.integers(1, 18))
def test_matmul(fmt: str, seed: int, n_rows: int, n_tokens: int, n_block: int) -> None:
    rng = np.random.default_rng(seed)
    n_weights, _ = sources.block_shape(fmt)
    n_block = n_block if n_weights < 256 else 1 + n_block // 8
    cols = n_block * n_weights if n_weights > 1 else n_block * 7
    n = n_rows * cols // n_weights
    blocks = (sources.wild_blocks if rng.random() < 0.5 else sources.random_blocks)(fmt, n, rng)
    rows = np.ascontiguousarray(blocks).view(np.uint8).reshape(n_rows, -1)
    x = finite_floats(rng, n_tokens, cols)
    check("matmul", fmt, rows, cols, x)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("n_tokens", [*range(1, 18), 31, 32, 33, 63, 64, 65])
def test_matmul_at_every_batch(fmt: str, n_tokens: int) -> None:
    rng = np.random.default_rng(n_tokens)
    rows = sources.random_tensor(fmt, 17, 512, rng, 1.0).view(np.uint8).reshape(17, -1)
    x = rng.standard_normal((n_tokens, 512)).astype(f32)
    check("matmul", fmt, rows, 512, x)


@pytest.mark.parametrize("fmt", [name for name in FORMATS if name not in sources.FLOAT_FORMATS])
@pytest.mark.parametrize("byte", [0x00, 0x77, 0x80, 0xFF])
def test_matmul_at_the_largest_integers(fmt: str, byte: int) -> None:
    """All codes and sub-scales at an end of their range, all activations at 127 or -127."""
    rng = np.random.default_rng(byte)
    n_weights, n_bytes = sources.block_shape(fmt)
    blocks = np.full((16 * 512 // n_weights, n_bytes), byte, np.uint8)
    layout = sources.SCALES[fmt]
    for at in (layout.d_at, layout.min_at):
        if at is not None:
            blocks[:, at : at + 2] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    rows = blocks.reshape(16, -1)
    for signs in (np.ones(512), -np.ones(512), np.where(rng.random(512) < 0.5, 1, -1)):
        x = (127 * signs).astype(f32)[None]
        check("matmul", fmt, rows, 512, x)


@pytest.mark.parametrize("kv", ["f16", "f32"])
@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    first_pos=st.one_of(st.integers(0, 300), st.sampled_from([126, 127, 128, 254, 255, 256])),
    n_tokens=st.one_of(st.integers(1, 4), st.sampled_from([9, 30])),
    shape=st.sampled_from([(1, 1, 16), (4, 2, 8), (3, 1, 32), (2, 2, 20)]),
    last_value=st.sampled_from([1.0, 1.0, 1e6]),
)
def test_attention(
    kv: str, seed: int, first_pos: int, n_tokens: int, shape: tuple[int, int, int], last_value: float
) -> None:
    """A million is an infinity in f16, which only the last token sees."""
    rng = np.random.default_rng(seed)
    n_head, n_head_kv, head_dim = shape
    q = (rng.standard_normal((n_tokens, n_head, head_dim)) * 10.0 ** rng.integers(-2, 2)).astype(f32)
    k, v = rng.standard_normal((2, n_head_kv, first_pos + n_tokens, head_dim)).astype(f32)
    v[:, -1] *= f32(last_value)
    check("attention", q, first_pos, k, v, kv)
