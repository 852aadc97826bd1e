"""What the five K formats share: blocks of 256 weights, and how their parts are spread over bytes.

A block of 256 is eight blocks of 32 columns, numbered b = 0 ... 7 here. The parts below keep shapes [..., 8, 32]
(weights), [..., 8] (one scale for 32) or [..., 8, 2] (one scale for 16).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32


def read_nibbles_by_64(qs: np.ndarray) -> np.ndarray:
    """Q4_K and Q5_K: uint8 [..., 128] as [..., 8, 32]; 32 bytes hold block 2c low and block 2c + 1 high."""
    qs = qs.reshape(*qs.shape[:-1], 4, 1, 32)
    return np.concatenate([qs & 15, qs >> 4], axis=-2).reshape(*qs.shape[:-3], 8, 32)


def write_nibbles_by_64(w: np.ndarray) -> np.ndarray:
    """The inverse of `read_nibbles_by_64`; higher bits of w are ignored."""
    both = w[..., 0::2, :] & 15 | w[..., 1::2, :] << 4
    return both.reshape(*w.shape[:-2], 128)


def read_bit_planes(bits: np.ndarray) -> np.ndarray:
    """Q5_K and Q3_K: uint8 [..., 32] as 0 or 1 in [..., 8, 32]; bit b of byte l belongs to w[b][l]."""
    return np.stack([bits >> b & 1 for b in range(8)], axis=-2)


def write_bit_planes(ones: np.ndarray) -> np.ndarray:
    """The inverse of `read_bit_planes`, from 0 or 1 in [..., 8, 32]."""
    bits = np.zeros((*ones.shape[:-2], 32), np.uint8)
    for b in range(8):
        bits |= ones[..., b, :] << b
    return bits


def read_crumbs(qs: np.ndarray) -> np.ndarray:
    """Two bits a weight (Q2_K, Q3_K, the upper bits of Q6_K): uint8 [..., 64] as 0 ... 3 in [..., 8, 32].

    Each half of the block has 32 bytes; bits 2j and 2j + 1 of byte l belong to w[4 * half + j][l].
    """
    qs = qs.reshape(*qs.shape[:-1], 2, 32)
    return np.stack([qs >> 2 * j & 3 for j in range(4)], axis=-2).reshape(*qs.shape[:-2], 8, 32)


def write_crumbs(w: np.ndarray) -> np.ndarray:
    """The inverse of `read_crumbs`, from 0 ... 3 in [..., 8, 32]."""
    halves = w.reshape(*w.shape[:-2], 2, 4, 32)
    qs = halves[..., 0, :] | halves[..., 1, :] << 2 | halves[..., 2, :] << 4 | halves[..., 3, :] << 6
    return qs.reshape(*w.shape[:-2], 64)


def scale_and_minimum_of_12(scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q4_K and Q5_K: eight 6-bit scales and minima from uint8 [..., 12], each uint8 [..., 8].

    Bytes 0-3 and 4-7 hold those of blocks 0-3 in their low six bits; bytes 8-11 hold the low four bits of blocks 4-7
    (scale low, minimum high), whose upper two bits are the top bits of bytes 0-3 and 4-7.
    """
    first, second, third = scales[..., 0:4], scales[..., 4:8], scales[..., 8:12]
    sc = np.concatenate([first & 63, third & 15 | first >> 6 << 4], axis=-1)
    mn = np.concatenate([second & 63, third >> 4 | second >> 6 << 4], axis=-1)
    return sc, mn


def spread_over_blocks(d: np.ndarray) -> np.ndarray:
    """The half float of a block of 256, for each of its eight blocks of 32: bytes [..., n, 2] as f32 [..., n * 8]."""
    return np.repeat(f16_to_f32(d)[..., 0], 8, axis=-1)


def by_row(parts: np.ndarray) -> np.ndarray:
    """Parts of blocks [n_rows, n, 8, ...] in one axis of blocks of 32: [n_rows, n * 8, ...], int16."""
    return parts.reshape(parts.shape[0], parts.shape[1] * 8, *parts.shape[3:]).astype(np.int16)
