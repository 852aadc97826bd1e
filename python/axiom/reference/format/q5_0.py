"""Q5_0: 32 weights in 22 bytes, 5.5 bits a weight.

    0   f16   d
    2   u32   bit j is the fifth bit of w[j]
    6   16 B  nibbles: byte j has the low four bits of w[j] low, of w[j + 16] high

weight = d * (w - 16).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.codes import Bits, Nibbles
from axiom.reference.format.nibbles import read_fifth_bits, read_nibbles, write_fifth_bits, write_nibbles
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleRows


class Q5_0(CodeFormat):
    """One scale, five bits."""

    name = "Q5_0"
    weights_per_block = 32
    bytes_per_block = 22
    fields = ((0, 2),)
    pieces = ((Nibbles, 0), (Bits, 4))

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 31."""
        return read_nibbles(blocks[..., 6:22]) | read_fifth_bits(blocks[..., 2:6])

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 2:6] = write_fifth_bits(w)
        blocks[..., 6:22] = write_nibbles(w)

    def decode(self, blocks: np.ndarray) -> ScaleRows:
        """w - 16 in -16 ... 15, one d for each 32."""
        w = self.codes(blocks).astype(np.int16) - np.int16(16)
        return ScaleRows(w, f16_to_f32(blocks[..., 0:2])[..., 0])
