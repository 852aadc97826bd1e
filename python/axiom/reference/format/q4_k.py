"""Q4_K: 256 weights in 144 bytes, 4.5 bits a weight.

     0   f16    D
     2   f16    Dmin
     4   12 B   eight 6-bit scales sc and minima mn (k_blocks.scale_and_minimum_of_12)
    16   128 B  nibbles: 32 bytes for each 64 weights, the first 32 low, the next 32 high

weight = (D * sc) * w - (Dmin * mn), with sc and mn of the weight's 32.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.format.codes import Nibbles
from axiom.reference.format.k_blocks import (
    by_row,
    read_nibbles_by_64,
    scale_and_minimum_of_12,
    spread_over_blocks,
    write_nibbles_by_64,
)
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleMinRows


class Q4_K(CodeFormat):
    """Scale and minimum for 32, themselves scaled integers; four bits."""

    name = "Q4_K"
    weights_per_block = 256
    bytes_per_block = 144
    fields = ((0, 2), (2, 2), *((4 + i, 1) for i in range(12)))
    pieces = ((Nibbles, 0),)

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 15."""
        return read_nibbles_by_64(blocks[..., 16:144]).reshape(*blocks.shape[:-1], 256)

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 16:144] = write_nibbles_by_64(w.reshape(*w.shape[:-1], 8, 32))

    def decode(self, blocks: np.ndarray) -> ScaleMinRows:
        """w, and for each 32: d = D * sc and m = -(Dmin * mn), both exact."""
        return decode_scale_and_minimum(self, blocks)


def decode_scale_and_minimum(fmt: CodeFormat, blocks: np.ndarray) -> ScaleMinRows:
    """Decodes Q4_K and Q5_K, whose first sixteen bytes are the same."""
    sc, mn = scale_and_minimum_of_12(blocks[..., 4:16])
    d = spread_over_blocks(blocks[..., 0:2]) * by_row(sc).astype(np.float32)
    m = -(spread_over_blocks(blocks[..., 2:4]) * by_row(mn).astype(np.float32))
    w = fmt.codes(blocks).reshape(*blocks.shape[:-1], 8, 32)
    return ScaleMinRows(by_row(w), d, m)
