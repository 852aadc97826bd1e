"""What every weight format can do, written once over the few facts in which formats differ.

A format's own file gives those facts: the size of a block, where its scales lie, and how its integers are spread over
the block's bytes. From them follow `dequantize`, `pack`, `unpack` and `matmul`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..arithmetic.activation import quantize
from .panel import BLOCKS_PER_CHUNK, ROWS, pack_scales, to_panels, unpack_scales
from .products import DecodedRows


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
        """Blocks [n_rows, n_blocks, bytes_per_block] as integers and scales (see products.py)."""
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


class IntegerFormat(WeightFormat):
    """A format of blocks that hold scales and small integers."""

    # Where each scale lies in the block: (offset, bytes). In a panel they follow one another in this order.
    scales: ClassVar[tuple[tuple[int, int], ...]]
    # How the stored integers are woven in a panel: the piece, and the bit of the integer at which it starts.
    pieces: ClassVar[tuple[tuple[Any, int], ...]]

    def integers(self, blocks: np.ndarray) -> np.ndarray:
        """The stored integers, unsigned: uint8 [..., weights_per_block]."""
        raise NotImplementedError

    def put_integers(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes stored integers into the (zeroed) bytes of blocks: the inverse of `integers`."""
        raise NotImplementedError

    def pack(self, rows: np.ndarray, cols: int) -> bytes:
        """Rows as panels: for each chunk of up to eight blocks of 32 columns its scales, then its integers."""
        blocks = to_panels(self.blocks(rows, cols))
        n_panels, _, n_blocks, _ = blocks.shape
        fields = np.concatenate([blocks[..., at : at + n] for at, n in self.scales], axis=-1)
        scales = pack_scales(fields, self._scale_items())
        w = self.integers(blocks).reshape(n_panels, ROWS, cols // 32, 32)
        integers = np.concatenate([piece.pack(w >> bit) for piece, bit in self.pieces], axis=-1)

        blocks_per_chunk = min(BLOCKS_PER_CHUNK, 256 // self.weights_per_block)  # GGUF blocks: 8 of 32 or 1 of 256
        chunks = []
        for chunk_idx in range(-(-n_blocks // blocks_per_chunk)):
            here = slice(chunk_idx * blocks_per_chunk, (chunk_idx + 1) * blocks_per_chunk)
            chunks.append(scales[:, here].reshape(n_panels, -1))
            here = slice(chunk_idx * BLOCKS_PER_CHUNK, (chunk_idx + 1) * BLOCKS_PER_CHUNK)
            chunks.append(integers[:, here].reshape(n_panels, -1))
        return np.concatenate(chunks, axis=1).tobytes()

    def unpack(self, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
        """The inverse of `pack`: rows as uint8 [n_rows, row_bytes]."""
        n_panels = -(-n_rows // ROWS)
        woven = np.frombuffer(panels, np.uint8).reshape(n_panels, -1)
        n_blocks = cols // self.weights_per_block
        blocks_per_chunk = min(BLOCKS_PER_CHUNK, 256 // self.weights_per_block)
        scale_bytes = ROWS * sum(self._scale_items())
        integer_bytes = sum(piece.n_bytes for piece, _ in self.pieces)

        scales, integers, at = [], [], 0
        for first in range(0, n_blocks, blocks_per_chunk):
            n_here = min(blocks_per_chunk, n_blocks - first)
            n_32 = n_here * self.weights_per_block // 32
            scales.append(woven[:, at : at + n_here * scale_bytes].reshape(n_panels, n_here, scale_bytes))
            at += n_here * scale_bytes
            integers.append(woven[:, at : at + n_32 * integer_bytes].reshape(n_panels, n_32, integer_bytes))
            at += n_32 * integer_bytes

        fields = unpack_scales(np.concatenate(scales, axis=1), self._scale_items())
        w = self._unpack_integers(np.concatenate(integers, axis=1))
        blocks = np.zeros((n_panels, ROWS, n_blocks, self.bytes_per_block), np.uint8)
        self.put_integers(w.reshape(n_panels, ROWS, n_blocks, self.weights_per_block), blocks)
        at = 0
        for offset, n_bytes in self.scales:
            blocks[..., offset : offset + n_bytes] = fields[..., at : at + n_bytes]
            at += n_bytes
        return blocks.reshape(n_panels * ROWS, -1)[:n_rows]

    def _scale_items(self) -> tuple[int, ...]:
        return tuple(n_bytes for _, n_bytes in self.scales)

    def _unpack_integers(self, woven: np.ndarray) -> np.ndarray:
        w, at = np.uint8(0), 0
        for piece, bit in self.pieces:
            w = w | piece.unpack(woven[..., at : at + piece.n_bytes]) << bit
            at += piece.n_bytes
        return np.asarray(w)
