"""Section 3 of docs/arithmetic.md: activations as blocks of 32 integers, each block with one scale.

A vector is quantised once and shared by every product that reads it (q, k and v; gate and up).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 32
_INFINITY_BITS = np.uint32(0x7F800000)
# 2^-100. Below it 127 / amax could overflow; such a block adds nothing that the sum would keep.
_TINY_BITS = np.uint32(0x0D800000)


class Activations(NamedTuple):
    """What a product reads: vectors, one for each token, as they are and quantised: x is about d * q."""

    x: np.ndarray  # f32   [n_tokens, n_blocks, 32], zeros after the last column
    q: np.ndarray  # int8  [n_tokens, n_blocks, 32], -127 ... 127
    d: np.ndarray  # f32   [n_tokens, n_blocks]
    s0: np.ndarray  # int32 [n_tokens, n_blocks], the sum of q[0..16]
    s1: np.ndarray  # int32 [n_tokens, n_blocks], the sum of q[16..32]
    m: np.ndarray  # f32   [n_tokens, n_blocks], d * (s0 + s1)


def quantize(x: np.ndarray) -> Activations:
    """Quantises each row of f32 [n_tokens, n]; the last block of a row is padded with zeros."""
    blocks = pad_to_blocks(x)
    amax_bits = (blocks.view(np.uint32) & np.uint32(0x7FFFFFFF)).max(axis=-1)
    finite = amax_bits < _INFINITY_BITS
    used = finite & (amax_bits >= _TINY_BITS)
    # A block that is not used gets an amax of 127, so that nothing below divides by zero; q is then set to 0.
    amax = np.where(used, amax_bits, np.float32(127).view(np.uint32)).view(np.float32)
    inverse = np.float32(127) / amax
    scaled = np.where(used[..., None], blocks, np.float32(0)) * inverse[..., None]
    q = np.rint(scaled).astype(np.int8)
    d = np.where(used, amax / np.float32(127), np.float32(0))
    d = np.where(finite, d, np.float32(np.nan))
    s0 = q[..., :16].sum(axis=-1, dtype=np.int32)
    s1 = q[..., 16:].sum(axis=-1, dtype=np.int32)
    return Activations(blocks, q, d, s0, s1, d * (s0 + s1).astype(np.float32))


def pad_to_blocks(x: np.ndarray) -> np.ndarray:
    """f32 [n_tokens, n] as [n_tokens, n_blocks, 32], with zeros after the end of each row."""
    n_tokens, n = x.shape
    n_blocks = -(-n // BLOCK)
    if n == n_blocks * BLOCK:
        return np.ascontiguousarray(x, np.float32).reshape(n_tokens, n_blocks, BLOCK)
    padded = np.zeros((n_tokens, n_blocks * BLOCK), np.float32)
    padded[:, :n] = x
    return padded.reshape(n_tokens, n_blocks, BLOCK)
