"""Formats of scales and codes, and their panels: sixteen rows of a matrix, woven so that a vector lane is a row
(docs/formats.md, byte by byte).

A panel is a run of chunks, each of up to eight blocks of 32 columns: first the scales of the chunk's blocks, then
their codes. No bit is lost or added, so a panel is as large as its rows in the file, and `unpack` gives them back.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from axiom.reference.format.base import WeightFormat
from axiom.reference.format.codes import ROWS

COLUMNS_PER_BLOCK = 32
BLOCKS_PER_CHUNK = 8


def to_panels(rows: np.ndarray) -> np.ndarray:
    """Rows [n_rows, ...] as [n_panels, 16, ...]; rows that the matrix does not have are zeros."""
    n_rows = len(rows)
    n_panels = -(-n_rows // ROWS)
    if n_rows != n_panels * ROWS:
        rows = np.concatenate([rows, np.zeros((n_panels * ROWS - n_rows, *rows.shape[1:]), rows.dtype)])
    return rows.reshape(n_panels, ROWS, *rows.shape[1:])


class CodeFormat(WeightFormat):
    """A format of blocks that hold scales and codes, the unsigned integers that stand for weights."""

    # Where the bytes of the scales lie in a block: (offset, 1 or 2 bytes). Panels hold them in this order.
    fields: ClassVar[tuple[tuple[int, int], ...]]
    # How the codes lie in a panel: each piece, and the bit of the code at which it starts.
    pieces: ClassVar[tuple[tuple[Any, int], ...]]

    def codes(self, blocks: np.ndarray) -> np.ndarray:
        """The codes: uint8 [..., weights_per_block]."""
        raise NotImplementedError

    def set_codes(self, w: np.ndarray, blocks: np.ndarray) -> None:
        """Writes codes into zeroed blocks: the inverse of `codes`."""
        raise NotImplementedError

    def pack(self, rows: np.ndarray, cols: int) -> bytes:
        """Rows as panels: for each chunk of up to eight blocks of 32 columns its scales, then its codes."""
        return _pack(self, self.blocks(rows, cols))

    def unpack(self, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
        """The inverse of `pack`: rows as uint8 [n_rows, row_bytes]."""
        return _unpack(self, panels, n_rows, cols).reshape(n_rows, -1)


def _pack(fmt: CodeFormat, blocks: np.ndarray) -> bytes:
    """GGUF blocks of a matrix, uint8 [n_rows, n_blocks, bytes_per_block], as its panels."""
    n_rows, n_gguf_blocks, _ = blocks.shape
    scales = _weave_scales(fmt, to_panels(blocks))
    w = to_panels(fmt.codes(blocks).reshape(n_rows, -1, COLUMNS_PER_BLOCK))
    n_panels = len(w)
    codes = np.concatenate([piece.pack(w >> bit) for piece, bit in fmt.pieces], axis=-1)

    chunks = []
    for gguf_blocks, blocks_of_32 in _chunks(fmt, n_gguf_blocks):
        chunks.append(scales[:, gguf_blocks].reshape(n_panels, -1))
        chunks.append(codes[:, blocks_of_32].reshape(n_panels, -1))
    return np.concatenate(chunks, axis=1).tobytes()


def _unpack(fmt: CodeFormat, panels: bytes, n_rows: int, cols: int) -> np.ndarray:
    """The inverse of `_pack`: GGUF blocks, uint8 [n_rows, n_blocks, bytes_per_block]."""
    n_panels, n_gguf_blocks = -(-n_rows // ROWS), cols // fmt.weights_per_block
    woven = np.frombuffer(panels, np.uint8).reshape(n_panels, -1)
    scales = np.empty((n_panels, n_gguf_blocks, ROWS * sum(n_bytes for _, n_bytes in fmt.fields)), np.uint8)
    codes = np.empty((n_panels, cols // COLUMNS_PER_BLOCK, sum(piece.n_bytes for piece, _ in fmt.pieces)), np.uint8)
    at = 0
    for gguf_blocks, blocks_of_32 in _chunks(fmt, n_gguf_blocks):
        for part in (scales[:, gguf_blocks], codes[:, blocks_of_32]):
            n_bytes = part.shape[1] * part.shape[2]
            part[...] = woven[:, at : at + n_bytes].reshape(part.shape)
            at += n_bytes

    w, at = np.zeros((n_panels, ROWS, cols // COLUMNS_PER_BLOCK, COLUMNS_PER_BLOCK), np.uint8), 0
    for piece, bit in fmt.pieces:
        w |= piece.unpack(codes[..., at : at + piece.n_bytes]) << bit
        at += piece.n_bytes
    blocks = np.zeros((n_panels, ROWS, n_gguf_blocks, fmt.bytes_per_block), np.uint8)
    fmt.set_codes(w.reshape(n_panels, ROWS, n_gguf_blocks, fmt.weights_per_block), blocks)
    _unweave_scales(fmt, scales, blocks)
    return blocks.reshape(n_panels * ROWS, n_gguf_blocks, fmt.bytes_per_block)[:n_rows]


def _chunks(fmt: CodeFormat, n_gguf_blocks: int) -> list[tuple[slice, slice]]:
    """Which GGUF blocks (for the scales) and which blocks of 32 columns (for the codes) each chunk holds."""
    n_32 = fmt.weights_per_block // COLUMNS_PER_BLOCK
    n_per_chunk = BLOCKS_PER_CHUNK // n_32
    firsts = range(0, n_gguf_blocks, n_per_chunk)
    return [(slice(at, at + n_per_chunk), slice(at * n_32, (at + n_per_chunk) * n_32)) for at in firsts]


def _weave_scales(fmt: CodeFormat, blocks: np.ndarray) -> np.ndarray:
    """Each field of a block, of all sixteen rows, then the next field: uint8 [n_panels, n_blocks, 16 * bytes]."""
    fields = [blocks[..., at : at + n_bytes].transpose(0, 2, 1, 3) for at, n_bytes in fmt.fields]
    return np.concatenate([field.reshape(*field.shape[:2], -1) for field in fields], axis=-1)


def _unweave_scales(fmt: CodeFormat, scales: np.ndarray, blocks: np.ndarray) -> None:
    """Writes the fields back into blocks."""
    at_woven = 0
    for at, n_bytes in fmt.fields:
        field = scales[..., at_woven : at_woven + ROWS * n_bytes].reshape(*scales.shape[:2], ROWS, n_bytes)
        blocks[..., at : at + n_bytes] = field.transpose(0, 2, 1, 3)
        at_woven += ROWS * n_bytes
