"""Q5_K: 256 weights in 176 bytes, 5.5 bits a weight.

     0   f16    D
     2   f16    Dmin
     4   12 B   eight 6-bit scales sc and minima mn (k_blocks.scale_and_minimum_of_12)
    16   32 B   bit b of byte l is the fifth bit of weight 32 b + l
    48   128 B  nibbles: 32 bytes for each 64 weights, the first 32 low, the next 32 high

weight = (D * sc) * w - (Dmin * mn), with sc and mn of the weight's 32.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.format.codes import Bits, Nibbles
from axiom.reference.format.k_blocks import read_bit_planes, read_nibbles_by_64, write_bit_planes, write_nibbles_by_64
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.q4_k import decode_scale_and_minimum
from axiom.reference.format.scales import ScaleMinRows


class Q5_K(CodeFormat):
    """Q4_K with a fifth bit."""

    name = "Q5_K"
    weights_per_block = 256
    bytes_per_block = 176
    fields = ((0, 2), (2, 2), *((4 + i, 1) for i in range(12)))
    pieces = ((Nibbles, 0), (Bits, 4))

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 31."""
        w = read_nibbles_by_64(blocks[..., 48:176]) | read_bit_planes(blocks[..., 16:48]) << 4
        return w.reshape(*blocks.shape[:-1], 256)

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        w = w.reshape(*w.shape[:-1], 8, 32)
        blocks[..., 16:48] = write_bit_planes(w >> 4 & 1)
        blocks[..., 48:176] = write_nibbles_by_64(w)

    def decode(self, blocks: np.ndarray) -> ScaleMinRows:
        """w, and for each 32: d = D * sc and m = -(Dmin * mn), both exact."""
        return decode_scale_and_minimum(self, blocks)
