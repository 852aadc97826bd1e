"""Every dequantiser gives the bits that gguf.quants gives."""

from __future__ import annotations

import numpy as np
import pytest

from axiom.reference.format import format_named
from tests.blocks import FORMATS, block_shape, dequantize, random_blocks, wild_blocks


def by_reference(fmt: str, blocks: np.ndarray) -> np.ndarray:
    return format_named(fmt).dequantize(blocks)


def by_native(fmt: str, blocks: np.ndarray) -> np.ndarray:
    from axiom import _native

    # One row of many blocks.
    return _native.testing.kernels.dequantize(fmt, blocks.reshape(1, -1), blocks.shape[0] * block_shape(fmt)[0])


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("body", [by_reference, by_native])
@pytest.mark.parametrize("draw", [random_blocks, wild_blocks])
def test_dequantisers_are_bit_equal_to_gguf(fmt, body, draw):
    blocks = draw(fmt, 8192, np.random.default_rng(11))
    expected = np.ascontiguousarray(dequantize(fmt, blocks), dtype=np.float32)
    got = np.ascontiguousarray(body(fmt, blocks), dtype=np.float32).reshape(expected.shape)
    assert np.array_equal(got.view(np.uint32), expected.view(np.uint32))
