"""Random weights in every GGUF format, as raw bytes.

`random_blocks` draws weights of a wanted standard deviation whose bits are otherwise uniform, so that each bit
position of a format is exercised and no quantiser is needed (gguf.quants has none for the K formats). `wild_blocks`
lets the scales be any finite half float as well: zeros, subnormals, both signs.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type


class ScaleLayout(NamedTuple):
    """Where the half-float scales of a block lie, and how to keep its weights centred."""

    d_at: int
    min_at: int | None = None
    # The minimum is this many times d: it cancels the mean of the unsigned quants.
    min_over_d: float = 0.0
    # Quantisers give these formats scales of either sign: the largest weight sits at the wider end of the range.
    either_sign: bool = False


SCALES = {
    "Q4_0": ScaleLayout(0, either_sign=True),
    "Q4_1": ScaleLayout(0, 2, -7.5),
    "Q5_0": ScaleLayout(0, either_sign=True),
    "Q5_1": ScaleLayout(0, 2, -15.5),
    "Q8_0": ScaleLayout(0),
    "Q2_K": ScaleLayout(80, 82, 1.5),
    "Q3_K": ScaleLayout(108, either_sign=True),
    "Q4_K": ScaleLayout(0, 2, 7.5),
    "Q5_K": ScaleLayout(0, 2, 15.5),
    "Q6_K": ScaleLayout(208, either_sign=True),
}
FLOAT_FORMATS = ("F32", "F16", "BF16")
FORMATS = (*FLOAT_FORMATS, *SCALES)


def block_shape(fmt: str) -> tuple[int, int]:
    """(weights per block, bytes per block)."""
    return gguf.GGML_QUANT_SIZES[Type[fmt]]


def dequantize(fmt: str, blocks: np.ndarray) -> np.ndarray:
    """The weights of raw blocks `[n, bytes]` as float32 `[n, weights]`, by gguf.quants."""
    if fmt == "F32":
        return blocks.view(np.float32)
    if fmt == "F16":
        return blocks.view(np.float16).astype(np.float32)
    if fmt == "BF16":
        # As one row: gguf.quants works a row at a time.
        return gguf.quants.dequantize(blocks.reshape(1, -1), Type.BF16).reshape(-1, 1)
    return gguf.quants.dequantize(blocks, Type[fmt])


def _half_bytes(values: np.ndarray) -> np.ndarray:
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


@cache
def _std_at_unit_scale(fmt: str) -> float:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (4096, block_shape(fmt)[1]), dtype=np.uint8)
    layout = SCALES[fmt]
    one = np.ones(len(blocks), np.float32)
    blocks[:, layout.d_at : layout.d_at + 2] = _half_bytes(one)
    if layout.min_at is not None:
        blocks[:, layout.min_at : layout.min_at + 2] = _half_bytes(one * layout.min_over_d)
    return float(np.std(dequantize(fmt, blocks), dtype=np.float64))


def random_blocks(fmt: str, n_blocks: int, rng: np.random.Generator, std: float = 1.0) -> np.ndarray:
    """Blocks `[n_blocks, bytes]` (uint8) whose weights have mean near 0 and standard deviation near `std`."""
    n_weights, n_bytes = block_shape(fmt)
    if fmt in FLOAT_FORMATS:
        weights = rng.standard_normal(n_blocks * n_weights, dtype=np.float32) * np.float32(std)
        if fmt == "BF16":
            # As one row: gguf.quants works a row at a time.
            return gguf.quants.quantize(weights[None], Type.BF16).reshape(n_blocks, n_bytes)
        return weights.astype("<f4" if fmt == "F32" else "<f2").view(np.uint8).reshape(n_blocks, n_bytes)
    layout = SCALES[fmt]
    blocks = rng.integers(0, 256, (n_blocks, n_bytes), dtype=np.uint8)
    # Uniform in [0.5, 1.5] has a root mean square of sqrt(13/12).
    d = rng.uniform(0.5, 1.5, n_blocks) * (std / _std_at_unit_scale(fmt) / np.sqrt(13 / 12))
    if layout.either_sign:
        d *= rng.choice([-1.0, 1.0], n_blocks)
    blocks[:, layout.d_at : layout.d_at + 2] = _half_bytes(d)
    if layout.min_at is not None:
        blocks[:, layout.min_at : layout.min_at + 2] = _half_bytes(d * layout.min_over_d)
    return blocks


def wild_blocks(fmt: str, n_blocks: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks `[n_blocks, bytes]` of uniform bits, but for infinities and NaNs, which no scale may be."""
    blocks = rng.integers(0, 256, (n_blocks, block_shape(fmt)[1]), dtype=np.uint8)
    if fmt == "F32":
        exponent_all_ones = (blocks[:, 3] & 0x7F == 0x7F) & (blocks[:, 2] & 0x80 == 0x80)
        blocks[exponent_all_ones, 3] ^= 0x40
        return blocks
    if fmt == "BF16":
        exponent_all_ones = (blocks[:, 1] & 0x7F == 0x7F) & (blocks[:, 0] & 0x80 == 0x80)
        blocks[exponent_all_ones, 1] ^= 0x40
        return blocks
    layout = ScaleLayout(0) if fmt == "F16" else SCALES[fmt]
    for at in (layout.d_at, layout.min_at):
        if at is not None:
            exponent_all_ones = blocks[:, at + 1] & 0x7C == 0x7C
            blocks[exponent_all_ones, at + 1] ^= 0x40
    return blocks


def random_tensor(
    fmt: str, n_rows: int, n_cols: int, rng: np.random.Generator, std: float, unique_bytes: int | None = None
) -> np.ndarray:
    """A matrix `[n_rows, bytes per row]` (uint8) of random blocks.

    At most `unique_bytes` are drawn and then repeated. The number of drawn blocks is a prime, so equal rows are that
    many rows apart: big shapes are written at the speed of the disk and still have no two equal neighbours.
    """
    n_weights, n_bytes = block_shape(fmt)
    if n_cols % n_weights:
        raise ValueError(f"{fmt} rows come in blocks of {n_weights} weights; n_cols={n_cols} is not a multiple")
    n_blocks = n_rows * (n_cols // n_weights)
    n_unique = n_blocks
    if unique_bytes is not None and n_blocks * n_bytes > unique_bytes:
        n_unique = _prime_at_most(max(unique_bytes // n_bytes, 2))
    blocks = random_blocks(fmt, n_unique, rng, std)
    if n_unique < n_blocks:
        # np.resize repeats the flat array, and copies whole arrays at a time.
        blocks = np.resize(blocks, (n_blocks, n_bytes))
    return blocks.reshape(n_rows, -1)


def _prime_at_most(n: int) -> int:
    while any(n % i == 0 for i in range(2, int(n**0.5) + 1)):
        n -= 1
    return n
