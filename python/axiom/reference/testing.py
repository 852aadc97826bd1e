"""The functions of a body one by one, for tests that compare bodies with `==`.

`axiom._native.testing.kernels` has the same names with the same arguments after the name of a kernel table (where one
is used), and must return the same bits.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic import activation, elementary, half
from axiom.reference.format import format_named
from axiom.reference.model import attention as attention_of_tiles
from axiom.reference.model.feed_forward import silu_mul
from axiom.reference.model.norm import rms_norm
from axiom.reference.model.rope import rope

__all__ = [
    "attention",
    "dequantize",
    "exp",
    "matmul",
    "pack",
    "quantize",
    "rms_norm",
    "rope",
    "silu_mul",
    "to_f16",
    "unpack",
]


def exp(x: np.ndarray) -> np.ndarray:
    """e^x of each element, f32 [n]."""
    return elementary.exp(x)


def to_f16(x: np.ndarray) -> np.ndarray:
    """f32 [n] as f16 bits, to nearest even."""
    return half.f32_to_f16(x)


def quantize(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows of f32 [n_tokens, n] as (q, d, s0, s1, m)."""
    a = activation.quantize(x)
    return a.q, a.d, a.s0, a.s1, a.m


def pack(format_name: str, rows: np.ndarray, cols: int) -> bytes:
    """The panels of rows, uint8 [n_rows, bytes]."""
    return format_named(format_name).pack(rows, cols)


def unpack(format_name: str, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
    """The rows of panels, as they were in the file."""
    return format_named(format_name).unpack(panels, n_rows, cols)


def dequantize(format_name: str, rows: np.ndarray, cols: int) -> np.ndarray:
    """Rows, uint8 [n_rows, bytes], as f32 [n_rows, cols]."""
    fmt = format_named(format_name)
    return fmt.decode(fmt.blocks(rows, cols)).values()


def matmul(format_name: str, rows: np.ndarray, cols: int, x: np.ndarray) -> np.ndarray:
    """The product of a matrix with f32 [n_tokens, cols]: f32 [n_tokens, n_rows]."""
    return format_named(format_name).matmul(rows, cols, x)


def attention(q: np.ndarray, first_pos: int, k: np.ndarray, v: np.ndarray, kv: str) -> np.ndarray:
    """Attention of f32 [n_tokens, n_head, head_dim] at positions first_pos, ... over f32 [n_head_kv, n_pos, head_dim].

    Keys and values pass through the cache's type, "f16" or "f32".
    """
    n_head_kv, n_pos, head_dim = k.shape
    n_tile = -(-n_pos // attention_of_tiles.POSITIONS_PER_TILE)
    padded = np.zeros((2, n_head_kv, n_tile * attention_of_tiles.POSITIONS_PER_TILE, head_dim), np.float32)
    padded[:, :, :n_pos] = np.stack([k, v])
    if kv == "f16":
        padded = half.f16_to_f32(half.f32_to_f16(padded))
    tiles = ((k_v[0], k_v[1]) for k_v in np.split(padded, n_tile, axis=2))
    return attention_of_tiles.attention(q, first_pos, tiles)
