"""Q8_0: 32 weights in 34 bytes, 8.5 bits a weight.

    0   f16    d
    2   32 i8  w[0] ... w[31]

weight = d * w. In a panel the top bit of w is flipped (w + 128, unsigned), as the integer dot instructions want it.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.codes import Bytes
from axiom.reference.format.pack import CodeFormat
from axiom.reference.format.scales import ScaleRows


class Q8_0(CodeFormat):
    """One scale, eight bits."""

    name = "Q8_0"
    weights_per_block = 32
    bytes_per_block = 34
    fields = ((0, 2),)
    pieces = ((Bytes, 0),)

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """w + 128."""
        return blocks[..., 2:] ^ np.uint8(0x80)

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes w + 128 as w."""
        blocks[..., 2:] = w ^ np.uint8(0x80)

    def decode(self, blocks: np.ndarray) -> ScaleRows:
        """w in -128 ... 127, one d for each 32."""
        w = self.codes(blocks).astype(np.int16) - np.int16(128)
        return ScaleRows(w, f16_to_f32(blocks[..., 0:2])[..., 0])
