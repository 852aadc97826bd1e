"""What every weight format can do: `dequantize`, `pack`, `unpack` and `matmul`.

It is written once over the few facts in which formats differ. A format's own file gives those: the size of a block,
where its scales lie, and how its codes are spread over the block's bytes. `pack` serves formats of scales and codes,
`floats` the others.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from axiom.reference.arithmetic.activation import quantize
from axiom.reference.format.scales import DecodedRows


class WeightFormat:
    """One GGUF weight format. `blocks` are always uint8 [..., bytes_per_block], `rows` uint8 [n_rows, row_bytes]."""

    name: ClassVar[str]
    weights_per_block: ClassVar[int]
    bytes_per_block: ClassVar[int]

    def row_bytes(self, cols: int) -> int:
        """Bytes of a row in the file; ValueError if a row of `cols` weights is no whole number of blocks."""
        if cols % self.weights_per_block:
            raise ValueError(
                f"{self.name} rows come in blocks of {self.weights_per_block} weights, got {cols} columns; "
                f"expected a multiple of {self.weights_per_block}"
            )
        return cols // self.weights_per_block * self.bytes_per_block

    def blocks(self, rows: np.ndarray, cols: int) -> np.ndarray:
        """Rows as uint8 [n_rows, n_blocks, bytes_per_block]; ValueError if their length is not that of `cols`."""
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != self.row_bytes(cols):
            raise ValueError(
                f"expected uint8 [n_rows, {self.row_bytes(cols)}] for {cols} columns of {self.name}, "
                f"got {rows.dtype} {list(rows.shape)}"
            )
        return rows.reshape(len(rows), -1, self.bytes_per_block)

    def decode(self, blocks: np.ndarray) -> DecodedRows:
        """Blocks [n_rows, n_blocks, bytes_per_block] as integers and scales (see scales.py)."""
        raise NotImplementedError

    def dequantize(self, blocks: np.ndarray) -> np.ndarray:
        """Blocks [n, bytes_per_block] as f32 [n, weights_per_block], the values that the gguf package gives."""
        return self.decode(blocks[:, None]).values()

    def matmul(self, rows: np.ndarray, cols: int, x: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        """The product of a matrix with f32 vectors [n_tokens, cols]: f32 [n_tokens, n_rows]; bias is added once."""
        out = self.decode(self.blocks(rows, cols)).product(quantize(x))
        return out if bias is None else out + bias

    def pack(self, rows: np.ndarray, cols: int) -> bytes:
        """Rows as panels (docs/formats.md)."""
        raise NotImplementedError

    def unpack(self, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
        """The inverse of `pack`: rows as uint8 [n_rows, row_bytes]."""
        raise NotImplementedError
