"""Q4_1: 32 weights in 20 bytes, 5 bits a weight.

    0   f16   d
    2   f16   m
    4   16 B  nibbles: byte j has w[j] low, w[j + 16] high

weight = d * w + m.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.codes import Nibbles
from axiom.reference.format.nibbles import read_nibbles, write_nibbles
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleMinRows


class Q4_1(CodeFormat):
    """Scale and minimum, four bits."""

    name = "Q4_1"
    weights_per_block = 32
    bytes_per_block = 20
    fields = ((0, 2), (2, 2))
    pieces = ((Nibbles, 0),)

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w in 0 ... 15."""
        return read_nibbles(blocks[..., 4:20])

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w into zeroed blocks."""
        blocks[..., 4:20] = write_nibbles(w)

    def decode(self, blocks: np.ndarray) -> ScaleMinRows:
        """w in 0 ... 15, d and m for each 32."""
        scale = f16_to_f32(blocks[..., 0:4])
        return ScaleMinRows(self.codes(blocks).astype(np.int16), scale[..., 0], scale[..., 1])
