"""Q5_1: 32 weights in 24 bytes, 6 bits a weight.

    0   f16   d
    2   f16   m
    4   u32   bit j is the fifth bit of w[j]
    8   16 B  nibbles: byte j has the low four bits of w[j] low, of w[j + 16] high

weight = d * w + m.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.codes import Bits, Nibbles
from axiom.reference.format.nibbles import read_fifth_bits, read_nibbles, write_fifth_bits, write_nibbles
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleMinRows


class Q5_1(CodeFormat):
    """Scale and minimum, five bits."""

    name = "Q5_1"
    weights_per_block = 32
    bytes_per_block = 24
    fields = ((0, 2), (2, 2))
    pieces = ((Nibbles, 0), (Bits, 4))

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 31."""
        return read_nibbles(blocks[..., 8:24]) | read_fifth_bits(blocks[..., 4:8])

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 4:8] = write_fifth_bits(w)
        blocks[..., 8:24] = write_nibbles(w)

    def decode(self, blocks: np.ndarray) -> ScaleMinRows:
        """w in 0 ... 31, d and m for each 32."""
        scale = f16_to_f32(blocks[..., 0:4])
        return ScaleMinRows(self.codes(blocks).astype(np.int16), scale[..., 0], scale[..., 1])
