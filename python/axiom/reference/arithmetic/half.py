"""The 16-bit floats: f16 (IEEE 754 binary16) and bf16 (the upper half of an f32).

Reading either as f32 is exact. Storing f32 as f16 rounds to nearest even, gives subnormals, and gives infinity from
65520 up; numpy's own conversion is that one. Nothing is ever stored as bf16: it occurs in weights only.
"""

from __future__ import annotations

import numpy as np


def f16_to_f32(bits: np.ndarray) -> np.ndarray:
    """f16 bit patterns (uint16, or pairs of little-endian bytes in the last axis) as f32 of the same values."""
    return _halves(bits).view(np.float16).astype(np.float32)


def f32_to_f16(x: np.ndarray) -> np.ndarray:
    """f32 as f16 bit patterns (uint16), rounded to nearest even."""
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(np.float16).view(np.uint16)


def bf16_to_f32(bits: np.ndarray) -> np.ndarray:
    """bf16 bit patterns (uint16, or pairs of little-endian bytes in the last axis) as f32 of the same values."""
    return (_halves(bits).astype(np.uint32) << np.uint32(16)).view(np.float32)


def _halves(bits: np.ndarray) -> np.ndarray:
    if bits.dtype == np.uint8:
        return np.ascontiguousarray(bits).view("<u2").astype(np.uint16, copy=False)
    return bits.astype(np.uint16, copy=False)
