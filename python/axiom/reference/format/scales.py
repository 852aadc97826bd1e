"""The shapes that weight formats decode to, and the product of each with a vector.

Thirteen formats make five shapes: floats; one scale for 32 weights; scale and minimum for 32; one scale for two
halves of 16 that have integer scales of their own; and that with minima (docs/arithmetic.md, section 4). A format's
file only says how its bytes become one of these; the arithmetic is here, once.

`n_blocks` counts blocks of 32 columns. `product` loops over the blocks in order, because the sums in f32 must follow
that order; each step computes all rows and all tokens side by side, which changes no bit.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np

from axiom.reference.arithmetic.activation import Activations, pad_to_blocks
from axiom.reference.arithmetic.dot import block_dot, sequential_dot


class DecodedRows(Protocol):
    """Rows of a weight matrix, decoded from the file's blocks."""

    def product(self, x: Activations) -> np.ndarray:
        """One output for each token and row: f32 [n_tokens, n_rows]."""
        ...

    def values(self) -> np.ndarray:
        """The weights as f32 [n_rows, n_cols], as an embedding reads them; equal to those of the gguf package."""
        ...


class FloatRows:
    """F32, F16, BF16: weights that are floats, multiplied with activations that are not quantised."""

    def __init__(self, w: np.ndarray) -> None:
        self.w = w  # f32 [n_rows, n_cols]

    @cached_property
    def dot_weights(self) -> np.ndarray:
        """The weights as f32 [n_blocks, 32, n_rows], columns padded with zeros to whole blocks."""
        return np.ascontiguousarray(pad_to_blocks(self.w).transpose(1, 2, 0))

    def product(self, x: Activations) -> np.ndarray:
        """p = sequential sum of w * x in a block; acc = acc + p."""
        columns = np.ascontiguousarray(x.x.transpose(1, 2, 0))  # [n_blocks, 32, n_tokens]
        acc = np.zeros((len(self.w), len(x.x)), np.float32)
        for weights, values in zip(self.dot_weights, columns, strict=True):
            acc += sequential_dot(weights, values)
        return acc.T

    def values(self) -> np.ndarray:
        """The weights themselves."""
        return self.w


class CodeRows:
    """What the four integer shapes share: `w` as the dot product wants it."""

    w: np.ndarray

    def __init__(self, w: np.ndarray) -> None:
        self.w = w  # int16 [n_rows, n_blocks, 32]

    @cached_property
    def dot_weights(self) -> np.ndarray:
        """The integers as f32 [n_blocks, n_rows, 32], kept: decoding costs more than one token's products."""
        return np.ascontiguousarray(self._integers_to_multiply().transpose(1, 0, 2), np.float32)

    def _integers_to_multiply(self) -> np.ndarray:
        return self.w


class ScaleRows(CodeRows):
    """Q4_0, Q5_0, Q8_0: a weight is d * w."""

    def __init__(self, w: np.ndarray, d: np.ndarray) -> None:
        super().__init__(w)
        self.d = d  # f32 [n_rows, n_blocks]

    def product(self, x: Activations) -> np.ndarray:
        """acc = acc + (d_w * d) * i, i the exact product of the integers."""
        q, d = _by_block(x)
        acc = np.zeros((len(self.w), len(x.d)), np.float32)
        for b, weights in enumerate(self.dot_weights):
            acc += (self.d[:, b, None] * d[b]) * block_dot(weights, q[b])
        return acc.T

    def values(self) -> np.ndarray:
        """d_w * w."""
        return _flat(self.d[..., None] * self.w.astype(np.float32))


class ScaleMinRows(CodeRows):
    """Q4_1, Q5_1, Q4_K, Q5_K: a weight is d * w + m."""

    def __init__(self, w: np.ndarray, d: np.ndarray, m: np.ndarray) -> None:
        super().__init__(w)
        self.d = d  # f32 [n_rows, n_blocks]
        self.m = m  # f32 [n_rows, n_blocks]

    def product(self, x: Activations) -> np.ndarray:
        """acc = acc + (d_w * d) * i; acc = acc + m_w * m."""
        q, d = _by_block(x)
        m = x.m.T
        acc = np.zeros((len(self.w), len(x.d)), np.float32)
        for b, weights in enumerate(self.dot_weights):
            acc += (self.d[:, b, None] * d[b]) * block_dot(weights, q[b])
            acc += self.m[:, b, None] * m[b]
        return acc.T

    def values(self) -> np.ndarray:
        """d_w * w + m_w."""
        return _flat(self.d[..., None] * self.w.astype(np.float32) + self.m[..., None])


class HalvesRows(ScaleRows):
    """Q6_K, Q3_K: a weight is D * sc * w, with one integer sc for each 16 weights.

    The scales join the integers before the product: sc0 * sum + sc1 * sum is the sum of (sc * w) * q, and all of it
    is exact. What is left is one D for each block, the same for the eight blocks of a 256.
    """

    def __init__(self, w: np.ndarray, sc: np.ndarray, d: np.ndarray) -> None:
        super().__init__(w, d)
        self.sc = sc  # int16 [n_rows, n_blocks, 2]

    def _integers_to_multiply(self) -> np.ndarray:
        return self.w * np.repeat(self.sc, 16, axis=-1)

    def values(self) -> np.ndarray:
        """(D * sc) * w."""
        scale = self.d[..., None] * self.sc.astype(np.float32)
        return _flat(np.repeat(scale, 16, axis=-1) * self.w.astype(np.float32))


class HalvesMinRows(HalvesRows):
    """Q2_K: a weight is D * sc * w - Dmin * mn, with integers sc and mn for each 16 weights."""

    def __init__(self, w: np.ndarray, sc: np.ndarray, d: np.ndarray, mn: np.ndarray, dmin: np.ndarray) -> None:
        super().__init__(w, sc, d)
        self.mn = mn  # int16 [n_rows, n_blocks, 2]
        self.dmin = dmin  # f32 [n_rows, n_blocks]

    def product(self, x: Activations) -> np.ndarray:
        """acc = acc + (D * d) * i; acc = acc - (Dmin * d) * j, j = mn0 * s0 + mn1 * s1."""
        q, d = _by_block(x)
        halves = np.stack([x.s0.T, x.s1.T], axis=1)  # int32 [n_blocks, 2, n_tokens]
        acc = np.zeros((len(self.w), len(x.d)), np.float32)
        for b, weights in enumerate(self.dot_weights):
            acc += (self.d[:, b, None] * d[b]) * block_dot(weights, q[b])
            j = self.mn[:, b].astype(np.int32) @ halves[b]
            acc -= (self.dmin[:, b, None] * d[b]) * j.astype(np.float32)
        return acc.T

    def values(self) -> np.ndarray:
        """(D * sc) * w - Dmin * mn."""
        minimum = self.dmin[..., None] * self.mn.astype(np.float32)
        scaled = super().values()
        return scaled - _flat(np.repeat(minimum, 16, axis=-1))


def _by_block(x: Activations) -> tuple[np.ndarray, np.ndarray]:
    """q as f32 [n_blocks, 32, n_tokens] and d as [n_blocks, n_tokens]."""
    return np.ascontiguousarray(x.q.transpose(1, 2, 0), np.float32), x.d.T


def _flat(blocks: np.ndarray) -> np.ndarray:
    return blocks.reshape(len(blocks), -1)
