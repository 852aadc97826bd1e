"""Rotary position embedding (Su et al. 2021, "RoFormer"), with linear and YaRN scaling (Peng et al. 2023, "YaRN").

Angles are computed in f64 with functions of our own (arithmetic/float64.py), rounded once to f32, and kept in a table;
the rotation itself is f32.
"""

from __future__ import annotations

import numpy as np

from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic.float64 import TRIGONOMETRIC_LIMIT, cos, exp, ln, sin

_TWO_PI = 6.283185307179586  # the f64 nearest to it
_POSITIONS_MAX = 1 << 62  # more than any context has


class RopeTable:
    """Cosine and sine of every position met so far: f32 [n_pos, rope_dim / 2]."""

    def __init__(self, config: ModelConfig, rope_freqs: np.ndarray | None) -> None:
        self.angle_per_position = angle_per_position(config, rope_freqs)  # f64 [rope_dim / 2]
        self.magnitude = magnitude(config)
        self._cos = self._sin = np.zeros((0, config.rope_dim // 2), np.float32)

    @property
    def n_position_max(self) -> int:
        """Positions whose angles are within what sine and cosine take: the fastest pair turns furthest."""
        # What is not a number bounds nothing here; it shows in the logits.
        fastest = np.fmax.reduce(np.abs(self.angle_per_position), initial=0.0)
        with np.errstate(divide="ignore"):
            return int(min(TRIGONOMETRIC_LIMIT / fastest, _POSITIONS_MAX)) + 1

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine at some positions: two f32 [n, rope_dim / 2]."""
        n_known, n_needed = len(self._cos), int(positions.max()) + 1
        if n_needed > n_known:
            grown = np.arange(n_known, max(n_needed, n_known + 128))
            c, s = rope_cos_sin(self.angle_per_position, self.magnitude, grown)
            self._cos, self._sin = np.concatenate([self._cos, c]), np.concatenate([self._sin, s])
        return self._cos[positions], self._sin[positions]


def angle_per_position(config: ModelConfig, rope_freqs: np.ndarray | None) -> np.ndarray:
    """By how much each pair turns from one position to the next: f64 [rope_dim / 2]."""
    rope_dim, base, factor = config.rope_dim, np.float64(config.rope_base), np.float64(config.rope_factor)
    i = np.arange(rope_dim // 2)
    freq = np.asarray(exp(-(np.float64(2) * i / np.float64(rope_dim)) * ln(base)))
    if rope_freqs is not None:
        freq = freq / rope_freqs.astype(np.float64)
    if config.rope_scaling == "linear":
        return freq / factor
    if config.rope_scaling == "yarn":
        low = max(np.float64(0), np.floor(_yarn_dim(config, config.rope_beta_fast)))
        high = min(np.float64(rope_dim - 1), np.ceil(_yarn_dim(config, config.rope_beta_slow)))
        slope = (i - low) / max(np.float64(0.001), high - low)
        ramp = 1 - np.minimum(1, np.maximum(0, slope))
        mix = ramp * np.float64(config.rope_ext_factor)
        return (freq / factor) * (1 - mix) + freq * mix
    return freq


def _yarn_dim(config: ModelConfig, n_turns: float) -> np.float64:
    """The dimension whose pair makes `n_turns` turns in the original context."""
    turn_length = np.float64(config.rope_original_ctx) / (np.float64(n_turns) * _TWO_PI)
    return np.float64(config.rope_dim) * ln(turn_length) / (2 * ln(np.float64(config.rope_base)))


def magnitude(config: ModelConfig) -> np.float64:
    """What cosine and sine are multiplied by; YaRN raises it as it stretches, to keep attention as sharp."""
    mscale = np.float64(config.rope_attn_factor)
    if config.rope_scaling == "yarn" and config.rope_ext_factor != 0 and config.rope_factor > 1:
        mscale = mscale * (1 + np.float64(0.1) * ln(np.float64(config.rope_factor)))
    return mscale


def rope_cos_sin(angles: np.ndarray, mscale: np.float64, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of pos * angle, times mscale, in f64 and then rounded: two f32 [n, rope_dim / 2]."""
    theta = positions.astype(np.float64)[:, None] * angles
    c, s = np.asarray(cos(theta) * mscale), np.asarray(sin(theta) * mscale)
    return c.astype(np.float32), s.astype(np.float32)


def rope(x: np.ndarray, c: np.ndarray, s: np.ndarray, pairing: str) -> np.ndarray:
    """Turns the pairs of each head: x f32 [n_tokens, n_head, head_dim], c and s f32 [n_tokens, rope_dim / 2].

    Pairing "norm" turns elements 2i and 2i + 1 together, "neox" i and i + rope_dim / 2. Elements from rope_dim on stay.
    """
    n_pair = c.shape[-1]
    first, second = (slice(0, 2 * n_pair, 2), slice(1, 2 * n_pair, 2))
    if pairing == "neox":
        first, second = slice(0, n_pair), slice(n_pair, 2 * n_pair)
    c, s = c[:, None], s[:, None]
    x0, x1 = x[..., first], x[..., second]
    turned = x.copy()
    turned[..., first] = x0 * c - x1 * s
    turned[..., second] = x0 * s + x1 * c
    return turned
