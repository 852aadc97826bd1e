"""F32: four bytes, a little-endian binary32."""

from __future__ import annotations

import numpy as np

from axiom.reference.format.floats import FloatFormat


class F32(FloatFormat):
    """f32 as it is."""

    name = "F32"
    bytes_per_block = 4

    def floats(self, elements: np.ndarray) -> np.ndarray:
        """Elements uint8 [..., 4] as f32 [...]."""
        return np.ascontiguousarray(elements).view("<f4")[..., 0].astype(np.float32, copy=False)
