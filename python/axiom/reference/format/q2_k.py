"""Q2_K: 256 weights in 84 bytes, 2.625 bits a weight.

     0   16 B   for each 16 weights the scale sc in the low nibble, the minimum mn in the high one
    16   64 B   two bits a weight. Each half of the block has 32 bytes; bits 2j and 2j + 1 of byte l belong to weight
                32 j + l of that half
    80   f16    D
    82   f16    Dmin

weight = (D * sc) * w - (Dmin * mn).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.format.codes import Crumbs
from axiom.reference.format.k_blocks import by_row, read_crumbs, spread_over_blocks, write_crumbs
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import HalvesMinRows


class Q2_K(CodeFormat):
    """Scale and minimum for 16, two bits."""

    name = "Q2_K"
    weights_per_block = 256
    bytes_per_block = 84
    fields = ((80, 2), (82, 2), *((i, 1) for i in range(16)))
    pieces = ((Crumbs, 0),)

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 3."""
        return read_crumbs(blocks[..., 16:80]).reshape(*blocks.shape[:-1], 256)

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 16:80] = write_crumbs(w.reshape(*w.shape[:-1], 8, 32))

    def decode(self, blocks: np.ndarray) -> HalvesMinRows:
        """w in 0 ... 3, sc and mn in 0 ... 15 for each 16, one D and one Dmin."""
        w = by_row(self.codes(blocks).reshape(*blocks.shape[:-1], 8, 32))
        sc_mn = blocks[..., 0:16].reshape(*blocks.shape[:-1], 8, 2)
        d, dmin = spread_over_blocks(blocks[..., 80:82]), spread_over_blocks(blocks[..., 82:84])
        return HalvesMinRows(w, by_row(sc_mn & 15), d, by_row(sc_mn >> 4), dmin)
