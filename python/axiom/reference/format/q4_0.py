"""Q4_0: 32 weights in 18 bytes, 4.5 bits a weight.

    0   f16   d
    2   16 B  nibbles: byte j has w[j] low, w[j + 16] high

weight = d * (w - 8).
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.codes import Nibbles
from axiom.reference.format.nibbles import read_nibbles, write_nibbles
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleRows


class Q4_0(CodeFormat):
    """One scale, four bits."""

    name = "Q4_0"
    weights_per_block = 32
    bytes_per_block = 18
    fields = ((0, 2),)
    pieces = ((Nibbles, 0),)

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 15."""
        return read_nibbles(blocks[..., 2:18])

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 2:18] = write_nibbles(w)

    def decode(self, blocks: np.ndarray) -> ScaleRows:
        """w - 8 in -8 ... 7, one d for each 32."""
        w = self.codes(blocks).astype(np.int16) - np.int16(8)
        return ScaleRows(w, f16_to_f32(blocks[..., 0:2])[..., 0])
