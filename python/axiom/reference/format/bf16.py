"""BF16: two bytes, the upper half of a binary32, little-endian; it becomes f32 exactly."""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import bf16_to_f32
from axiom.reference.format.floats import FloatFormat


class BF16(FloatFormat):
    """bfloat16."""

    name = "BF16"
    bytes_per_block = 2

    def floats(self, elements: np.ndarray) -> np.ndarray:
        """Elements uint8 [..., 2] as f32 [...]."""
        return bf16_to_f32(elements)[..., 0]
