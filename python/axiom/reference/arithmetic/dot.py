"""Section 4 of docs/arithmetic.md: how one row of a matrix meets one vector.

`block_dot` is the integer part. Its terms and its sum are integers below 2^24, so f32 holds each of them exactly, and
the matrix product of a linear algebra library gives the exact sum in whatever order it adds. That is the only place
where the reference lets a library choose an order.
"""

from __future__ import annotations

import numpy as np


def block_dot(weights: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The exact dot products of one block: f32 [n_rows, 32] with f32 [32, n_tokens], all integers.

    A weight here may already carry the integer scale of its 16: at most 128 * 32 in size (Q6_K). With |q| <= 127 the
    sum of 32 terms stays within 4096 * 127 * 32 = 16 646 144 < 2^24.
    """
    return weights @ q


def sequential_dot(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The sequential sum of w[k] * x[k] over a block's 32 values: f32 [32, n_rows] with f32 [32, n_tokens]."""
    p = np.zeros((weights.shape[1], x.shape[1]), np.float32)
    for w_k, x_k in zip(weights, x, strict=True):
        p += w_k[:, None] * x_k
    return p
