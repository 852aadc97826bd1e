"""Section 2 of docs/arithmetic.md: exp and silu of f32, and the one order in which a vector is summed.

Every operation is a numpy operation on f32 arrays, so each is rounded by itself and multiply and add are never fused.
Constants are made from their bit patterns: a decimal literal would be an f64 that is rounded on the way.
"""

from __future__ import annotations

import numpy as np


def _f32(bits: int) -> np.float32:
    return np.float32(np.array(bits, np.uint32).view(np.float32))


_LOG2_E = _f32(0x3FB8AA3B)
# ln 2 in two parts: n times the first is exact for every n that occurs, so r loses nothing.
_LN2_HIGH = _f32(0x3F318000)
_LN2_LOW = _f32(0xB95E8083)
_POLYNOMIAL = [_f32(bits) for bits in (0x39506967, 0x3AB743CE, 0x3C088908, 0x3D2AA9C1, 0x3E2AAAAA, 0x3F000000)]
_LOWEST, _HIGHEST = np.float32(-87), np.float32(88)


def exp(x: np.ndarray) -> np.ndarray:
    """e to the power of x, f32 of any shape; +0 below -87 and infinity above 88."""
    x = np.asarray(x, np.float32)
    # Outside the range, and for NaN, the polynomial would compute nonsense; its result is replaced below.
    inside = np.where((x >= _LOWEST) & (x <= _HIGHEST), x, np.float32(0))
    n = np.rint(inside * _LOG2_E)
    r = inside - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = _POLYNOMIAL[0]
    for coefficient in _POLYNOMIAL[1:]:
        p = p * r + coefficient
    y = p * (r * r) + r
    y = y + np.float32(1)
    # y is in [0.7, 1.5) and n in -126 … 127: adding n to the exponent field multiplies by 2^n exactly.
    scaled = (np.asarray(y).view(np.int32) + n.astype(np.int32) * np.int32(1 << 23)).view(np.float32)
    scaled = np.where(x < _LOWEST, np.float32(0), scaled)
    scaled = np.where(x > _HIGHEST, np.float32(np.inf), scaled)
    return np.where(np.isnan(x), np.float32(np.nan), scaled)


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x)), the activation of the feed-forward's gate."""
    with np.errstate(invalid="ignore"):
        return x / (np.float32(1) + exp(-x))


def sum16(x: np.ndarray) -> np.ndarray:
    """The sum over the last axis: 16 strided partial sums, joined by one fixed tree. f32 [..., n] to [...]."""
    *outer, n = x.shape
    lanes = np.zeros((*outer, -(-n // 16), 16), np.float32)
    lanes.reshape(*outer, -1)[..., :n] = x
    p = np.zeros((*outer, 16), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for row in range(lanes.shape[-2]):
            p = p + lanes[..., row, :]
        for half in (8, 4, 2, 1):
            p = p[..., :half] + p[..., half:]
    return p[..., 0]
