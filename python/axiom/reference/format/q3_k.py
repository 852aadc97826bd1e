"""Q3_K: 256 weights in 110 bytes, 3.4375 bits a weight.

      0   32 B   bit b of byte l is the third bit of weight 32 b + l
     32   64 B   low two bits. Each half of the block has 32 bytes; bits 2j and 2j + 1 of byte l belong to weight
                 32 j + l of that half
     96   12 B   sixteen 6-bit scales, one for each 16 weights: scale k has its low four bits in byte k mod 8 (low
                 nibble for k < 8, else high), its upper two in bits 2 (k div 4) of byte 8 + k mod 4; sc = scale - 32
    108   f16    D

weight = (D * sc) * (w - 4).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.format.codes import Bits, Crumbs
from axiom.reference.format.k_blocks import (
    by_row,
    read_bit_planes,
    read_crumbs,
    spread_over_blocks,
    write_bit_planes,
    write_crumbs,
)
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import HalvesRows


class Q3_K(CodeFormat):
    """One signed scale for 16, three bits."""

    name = "Q3_K"
    weights_per_block = 256
    bytes_per_block = 110
    fields = ((108, 2), *((96 + i, 1) for i in range(12)))
    pieces = ((Crumbs, 0), (Bits, 2))

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 7."""
        w = read_crumbs(blocks[..., 32:96]) | read_bit_planes(blocks[..., 0:32]) << 2
        return w.reshape(*blocks.shape[:-1], 256)

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        w = w.reshape(*w.shape[:-1], 8, 32)
        blocks[..., 0:32] = write_bit_planes(w >> 2 & 1)
        blocks[..., 32:96] = write_crumbs(w & 3)

    def decode(self, blocks: np.ndarray) -> HalvesRows:
        """w - 4 in -4 ... 3, sc in -32 ... 31 for each 16, one D."""
        w = by_row(self.codes(blocks).reshape(*blocks.shape[:-1], 8, 32)) - np.int16(4)
        low = np.concatenate([blocks[..., 96:104] & 15, blocks[..., 96:104] >> 4], axis=-1)
        high = np.concatenate([blocks[..., 104:108] >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
        sc = by_row((low | high << 4).reshape(*blocks.shape[:-1], 8, 2)) - np.int16(32)
        return HalvesRows(w, sc, spread_over_blocks(blocks[..., 108:110]))
