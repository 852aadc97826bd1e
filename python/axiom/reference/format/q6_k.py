"""Q6_K: 256 weights in 210 bytes, 6.5625 bits a weight.

      0   128 B  low four bits. Each half of the block has 64 bytes; byte l of them has weight l (of that half's 128)
                 low and weight l + 64 high
    128   64 B   upper two bits. Each half has 32 bytes; bits 2j and 2j + 1 of byte l belong to weight 32 j + l
    192   16 i8  scales sc, one for each 16 weights
    208   f16    D

weight = (D * sc) * (w - 32).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.format.codes import Crumbs, Nibbles
from axiom.reference.format.k_blocks import by_row, read_crumbs, spread_over_blocks, write_crumbs
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import HalvesRows


class Q6_K(CodeFormat):
    """One signed scale for 16, six bits."""

    name = "Q6_K"
    weights_per_block = 256
    bytes_per_block = 210
    fields = ((208, 2), *((192 + i, 1) for i in range(16)))
    pieces = ((Nibbles, 0), (Crumbs, 4))

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 63."""
        ql = blocks[..., 0:128].reshape(*blocks.shape[:-1], 2, 1, 64)
        low = np.concatenate([ql & 15, ql >> 4], axis=-2).reshape(*blocks.shape[:-1], 256)
        high = read_crumbs(blocks[..., 128:192]).reshape(*blocks.shape[:-1], 256)
        return low | high << 4

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        low = w.reshape(*w.shape[:-1], 2, 2, 64)
        blocks[..., 0:128] = (low[..., 0, :] & 15 | low[..., 1, :] << 4).reshape(*w.shape[:-1], 128)
        blocks[..., 128:192] = write_crumbs(w.reshape(*w.shape[:-1], 8, 32) >> 4)

    def decode(self, blocks: np.ndarray) -> HalvesRows:
        """w - 32 in -32 ... 31, sc in -128 ... 127 for each 16, one D."""
        w = by_row(self.codes(blocks).reshape(*blocks.shape[:-1], 8, 32)) - np.int16(32)
        sc = blocks[..., 192:208].view(np.int8).reshape(*blocks.shape[:-1], 8, 2)
        return HalvesRows(w, by_row(sc), spread_over_blocks(blocks[..., 208:210]))
