"""F16: two bytes, a little-endian binary16; it becomes f32 exactly."""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.half import f16_to_f32
from axiom.reference.format.floats import FloatFormat


class F16(FloatFormat):
    """IEEE half floats."""

    name = "F16"
    bytes_per_block = 2

    def floats(self, elements: np.ndarray) -> np.ndarray:
        """Elements uint8 [..., 2] as f32 [...]."""
        return f16_to_f32(elements)[..., 0]
