"""The parts of a layer in the reference, against the text of docs/arithmetic.md, one scalar at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic import float64
from axiom.reference.arithmetic.elementary import exp, sum16
from axiom.reference.model.attention import attention
from axiom.reference.model.feed_forward import silu_mul
from axiom.reference.model.norm import rms_norm
from axiom.reference.model.rope import RopeTable, angle_per_position, magnitude, rope

f32 = np.float32
f64 = np.float64

CONFIG = ModelConfig(
    architecture="llama",
    n_vocab=8,
    n_ctx_train=4096,
    n_embd=64,
    n_layer=1,
    n_ff=64,
    n_head=1,
    n_head_kv=1,
    head_dim=64,
    rope_dim=64,
    rope_base=10000.0,
    rope_pairing="norm",
    rope_scaling="none",
    rope_factor=1.0,
    rope_original_ctx=4096,
    rope_attn_factor=1.0,
    rope_beta_fast=32.0,
    rope_beta_slow=1.0,
    rope_ext_factor=0.0,
    has_rope_freqs=False,
    rms_eps=1e-5,
    tied_output=False,
    qk_norm=False,
    sliding_window=None,
    tensors=(),
)
YARN = CONFIG.replace(rope_scaling="yarn", rope_factor=4.0, rope_original_ctx=1024, rope_ext_factor=1.0)


def test_an_angle_that_is_not_a_number_bounds_no_position() -> None:
    freqs = np.ones(CONFIG.rope_dim // 2, f32)
    for i in (0, 1, len(freqs) - 1):
        damaged = freqs.copy()
        damaged[i] = np.nan
        fastest = np.nanmax(angle_per_position(CONFIG, damaged))
        assert RopeTable(CONFIG, damaged).n_position_max == int(float64.TRIGONOMETRIC_LIMIT / fastest) + 1


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(np.asarray(a, f32).view(np.uint32), np.asarray(b, f32).view(np.uint32))


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 100), seed=st.integers(0, 2**32))
def test_rms_norm_is_the_text(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal(n).astype(f32) * f32(3), rng.standard_normal(n).astype(f32)
    r = f32(1) / np.sqrt(sum16(x * x) / f32(n) + f32(1e-5))
    expected = [[(v * r) * g for v, g in zip(s * x, w, strict=True)] for s in (f32(1), f32(-1))]
    assert same_bits(rms_norm(np.stack([x, -x]), w, 1e-5), np.array(expected))


def angles_of_the_text(config: ModelConfig, rope_freqs: np.ndarray | None) -> list[float]:
    """Section 5, "rope", in Python's own f64 arithmetic."""
    exp64, ln64 = (lambda x: float(float64.exp(x))), (lambda x: float(float64.ln(x)))
    angles = []
    for i in range(config.rope_dim // 2):
        freq = exp64(-(float(2 * i) / float(config.rope_dim)) * ln64(config.rope_base))
        if rope_freqs is not None:
            freq = freq / float(rope_freqs[i])
        if config.rope_scaling == "linear":
            freq = freq / config.rope_factor
        elif config.rope_scaling == "yarn":
            low, high = (
                (config.rope_dim * ln64(config.rope_original_ctx / (beta * 6.283185307179586)))
                / (2 * ln64(config.rope_base))
                for beta in (config.rope_beta_fast, config.rope_beta_slow)
            )
            low, high = max(0.0, float(math.floor(low))), min(config.rope_dim - 1.0, float(math.ceil(high)))
            ramp = 1 - min(1.0, max(0.0, (float(i) - low) / max(0.001, high - low)))
            mix = ramp * config.rope_ext_factor
            freq = (freq / config.rope_factor) * (1 - mix) + freq * mix
        angles.append(freq)
    return angles


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        CONFIG.replace(rope_base=1e6, rope_dim=40),
        CONFIG.replace(rope_scaling="linear", rope_factor=3.0),
        YARN,
        YARN.replace(rope_ext_factor=0.0),
        YARN.replace(rope_ext_factor=0.5, rope_base=5e5),
        YARN.replace(rope_beta_fast=1.0, rope_beta_slow=1.0),
    ],
)
@pytest.mark.parametrize("factors", [False, True])
def test_rope_angles_are_the_text(config: ModelConfig, factors: bool) -> None:
    rope_freqs = np.linspace(1, 8, config.rope_dim // 2).astype(f32) if factors else None
    assert angle_per_position(config, rope_freqs).tolist() == angles_of_the_text(config, rope_freqs)


def test_rope_magnitude() -> None:
    ln4 = float(float64.ln(4.0))
    assert magnitude(CONFIG) == 1.0
    assert magnitude(CONFIG.replace(rope_attn_factor=1.25)) == 1.25
    assert magnitude(YARN) == 1.0 + 0.1 * ln4
    assert magnitude(YARN.replace(rope_attn_factor=1.25)) == 1.25 * (1.0 + 0.1 * ln4)
    assert magnitude(YARN.replace(rope_ext_factor=0.0)) == 1.0
    assert magnitude(YARN.replace(rope_factor=0.5)) == 1.0


def test_rope_table_does_not_depend_on_the_order_of_asking() -> None:
    whole = RopeTable(YARN, None).at(np.arange(1000))
    table = RopeTable(YARN, None)
    for positions in ([5], [0, 1, 2], [999, 3], list(range(400, 500))):
        for got, expected in zip(table.at(np.array(positions)), whole, strict=True):
            assert same_bits(got, expected[positions])


@pytest.mark.parametrize("rope_dim", [8, 6])
def test_rope_pairs(rope_dim: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, 8)).astype(f32)
    c, s = rng.standard_normal((2, 3, rope_dim // 2)).astype(f32)
    for pairing in ("norm", "neox"):
        got = rope(x, c, s, pairing)
        expected = x.copy()
        for t in range(3):
            for i in range(rope_dim // 2):
                a, b = (2 * i, 2 * i + 1) if pairing == "norm" else (i, i + rope_dim // 2)
                for head in range(2):
                    x0, x1 = x[t, head, a], x[t, head, b]
                    expected[t, head, a] = x0 * c[t, i] - x1 * s[t, i]
                    expected[t, head, b] = x0 * s[t, i] + x1 * c[t, i]
        assert same_bits(got, expected)


def attention_of_the_text(q: np.ndarray, pos: int, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One query head at `pos`; k and v are f32 [n_pos, head_dim]. Loops over everything that is summed."""
    n = len(q)
    q = q * (f32(1) / np.sqrt(f32(n)))
    joined: tuple[np.float32, np.float32, np.ndarray] | None = None
    for tile in range(0, pos + 1, 128):
        seen = range(tile, min(tile + 128, pos + 1))
        s = []
        for p in seen:
            score = f32(0)
            for e in range(n):
                score = score + q[e] * k[p, e]
            s.append(score)
        mt = max(s)
        w = [exp(score - mt)[()] for score in s]
        lt = sum16(np.array(w, f32))
        ot = np.zeros(n, f32)
        for p, weight in zip(seen, w, strict=True):
            ot = ot + weight * v[p]
        if joined is None:
            joined = mt, lt, ot
            continue
        m, total, o = joined
        larger = max(m, mt)
        a, b = exp(m - larger)[()], exp(mt - larger)[()]
        joined = larger, total * a + lt * b, o * a + ot * b
    assert joined is not None
    return joined[2] / joined[1]


@pytest.mark.parametrize(("first_pos", "n_tokens"), [(0, 1), (0, 5), (126, 4), (127, 1), (128, 1), (250, 10), (300, 1)])
def test_attention_is_the_text(first_pos: int, n_tokens: int) -> None:
    n_head, n_head_kv, head_dim = 4, 2, 8
    rng = np.random.default_rng(first_pos)
    n_tiles = -(-(first_pos + n_tokens) // 128)
    q = rng.standard_normal((n_tokens, n_head, head_dim)).astype(f32) * f32(3)
    k, v = rng.standard_normal((2, n_head_kv, n_tiles * 128, head_dim)).astype(f32)
    tiles = [(k[:, t * 128 : t * 128 + 128], v[:, t * 128 : t * 128 + 128]) for t in range(n_tiles)]
    got = attention(q, first_pos, tiles)
    for t in range(n_tokens):
        for head in range(n_head):
            kv = head // (n_head // n_head_kv)
            assert same_bits(got[t, head], attention_of_the_text(q[t, head], first_pos + t, k[kv], v[kv]))


def test_attention_does_not_see_what_comes_later() -> None:
    """An infinity of a later position, which other tokens of the same pass see, is as if it were not there."""
    rng = np.random.default_rng(2)
    q, k, v = (rng.standard_normal(shape).astype(f32) for shape in ((3, 2, 8), (1, 128, 8), (1, 128, 8)))
    v[0, 12] = np.inf
    together = attention(q, 10, [(k, v)])
    assert np.isfinite(together[:2]).all()
    assert np.isinf(together[2]).all()
    assert all(same_bits(together[t : t + 1], attention(q[t : t + 1], 10 + t, [(k, v)])) for t in range(3))


def test_attention_is_softmax() -> None:
    rng = np.random.default_rng(1)
    q, k, v = (rng.standard_normal(shape).astype(f32) for shape in ((1, 1, 16), (1, 256, 16), (1, 256, 16)))
    got = attention(q, 199, [(k[:, :128], v[:, :128]), (k[:, 128:], v[:, 128:])])[0, 0]
    scores = (k[0, :200].astype(f64) @ q[0, 0].astype(f64)) / 4
    weights = np.exp(scores - scores.max())
    assert np.allclose(got, (weights / weights.sum()) @ v[0, :200].astype(f64), atol=1e-6)


def test_silu_mul() -> None:
    gate, up = np.random.default_rng(2).standard_normal((2, 3, 40)).astype(f32)
    assert same_bits(silu_mul(gate, up), (gate / (f32(1) + exp(-gate))) * up)
