"""What F32, F16 and BF16 share: weights that are floats and need no scale.

In a panel, element (k, r) of a block of 32 columns lies at index k * 16 + r; columns are padded with zeros to a whole
block.
"""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.activation import BLOCK
from axiom.reference.format.base import WeightFormat
from axiom.reference.format.codes import ROWS
from axiom.reference.format.pack import to_panels
from axiom.reference.format.scales import FloatRows


class FloatFormat(WeightFormat):
    """A format whose block is one float."""

    weights_per_block = 1

    def floats(self, elements: np.ndarray) -> np.ndarray:
        """Elements uint8 [..., bytes_per_block] as f32 [...]."""
        raise NotImplementedError

    def decode(self, blocks: np.ndarray) -> FloatRows:
        """Elements [n_rows, n_cols, bytes] as f32 rows."""
        return FloatRows(self.floats(blocks))

    def dequantize(self, blocks: np.ndarray) -> np.ndarray:
        """Elements [n, bytes] as f32 [n, 1]."""
        return self.floats(blocks)[:, None]

    def pack(self, rows: np.ndarray, cols: int) -> bytes:
        """Rows as panels: for each block of 32 columns, column by column, the elements of its sixteen rows."""
        elements = to_panels(self.blocks(rows, cols))  # p r k bytes
        n_panels, n_padded = len(elements), -(-cols // BLOCK) * BLOCK
        padded = np.zeros((n_panels, n_padded, ROWS, self.bytes_per_block), np.uint8)
        padded[:, :cols] = elements.transpose(0, 2, 1, 3)
        return padded.tobytes()

    def unpack(self, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
        """The inverse of `pack`."""
        n_panels = -(-n_rows // ROWS)
        padded = np.frombuffer(panels, np.uint8).reshape(n_panels, -1, ROWS, self.bytes_per_block)
        rows = padded[:, :cols].transpose(0, 2, 1, 3)
        return rows.reshape(n_panels * ROWS, cols * self.bytes_per_block)[:n_rows]
