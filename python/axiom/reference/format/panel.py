"""Panels: sixteen rows of a weight matrix, woven so that a vector lane is a row (docs/formats.md, byte by byte).

A panel is a run of chunks, each of up to eight blocks of 32 columns: first the scales of the chunk's blocks, then
their integers. Both are made of a few pieces that recur in all formats, and these are the pieces. Byte `r * 4 + t` of
64 always belongs to row r: the four bytes of a row are the four columns that one integer dot instruction multiplies.

Shapes: `w` is uint8 [n_panels, 16, n_blocks, 32] (unsigned stored integers), a piece is uint8 [n_panels, n_blocks, n].
"""

from __future__ import annotations

import numpy as np

ROWS = 16
BLOCKS_PER_CHUNK = 8
COLUMNS_PER_BLOCK = 32


class Bytes:
    """Eight bits a weight, 512 bytes a block: byte g*64 + r*4 + t is column 4g + t."""

    n_bytes = 512

    @staticmethod
    def pack(w: np.ndarray) -> np.ndarray:
        """Weaves eight-bit integers."""
        n_panels, _, n_blocks, _ = w.shape
        columns = w.reshape(n_panels, ROWS, n_blocks, 8, 4)  # p r b g t
        return columns.transpose(0, 2, 3, 1, 4).reshape(n_panels, n_blocks, 512)

    @staticmethod
    def unpack(piece: np.ndarray) -> np.ndarray:
        """The inverse of `pack`."""
        n_panels, n_blocks, _ = piece.shape
        columns = piece.reshape(n_panels, n_blocks, 8, ROWS, 4).transpose(0, 3, 1, 2, 4)
        return columns.reshape(n_panels, ROWS, n_blocks, 32)


class Nibbles:
    """Four bits a weight, 256 bytes a block: byte g*64 + r*4 + t has column 4g + t low, column 16 + 4g + t high."""

    n_bytes = 256

    @staticmethod
    def pack(w: np.ndarray) -> np.ndarray:
        """Weaves the low four bits."""
        n_panels, _, n_blocks, _ = w.shape
        columns = (w & 15).reshape(n_panels, ROWS, n_blocks, 2, 4, 4)  # p r b half g t
        both = columns[:, :, :, 0] | columns[:, :, :, 1] << 4
        return both.transpose(0, 2, 3, 1, 4).reshape(n_panels, n_blocks, 256)

    @staticmethod
    def unpack(piece: np.ndarray) -> np.ndarray:
        """The inverse of `pack`."""
        n_panels, n_blocks, _ = piece.shape
        both = piece.reshape(n_panels, n_blocks, 4, ROWS, 4).transpose(0, 3, 1, 2, 4)  # p r b g t
        return np.stack([both & 15, both >> 4], axis=3).reshape(n_panels, ROWS, n_blocks, 32)


class Pairs:
    """Two bits a weight, 128 bytes a block: byte h*64 + r*4 + t has column 16h + 4j + t in bits 2j and 2j + 1."""

    n_bytes = 128

    @staticmethod
    def pack(w: np.ndarray) -> np.ndarray:
        """Weaves the low two bits."""
        n_panels, _, n_blocks, _ = w.shape
        columns = (w & 3).reshape(n_panels, ROWS, n_blocks, 2, 4, 4)  # p r b h j t
        four = columns[..., 0, :] | columns[..., 1, :] << 2 | columns[..., 2, :] << 4 | columns[..., 3, :] << 6
        return four.transpose(0, 2, 3, 1, 4).reshape(n_panels, n_blocks, 128)

    @staticmethod
    def unpack(piece: np.ndarray) -> np.ndarray:
        """The inverse of `pack`."""
        n_panels, n_blocks, _ = piece.shape
        four = piece.reshape(n_panels, n_blocks, 2, ROWS, 4).transpose(0, 3, 1, 2, 4)  # p r b h t
        columns = np.stack([four >> 2 * j & 3 for j in range(4)], axis=4)
        return columns.reshape(n_panels, ROWS, n_blocks, 32)


class Bits:
    """One bit a weight, 64 bytes a block: byte r*4 + t has column 4j + t in bit j."""

    n_bytes = 64

    @staticmethod
    def pack(w: np.ndarray) -> np.ndarray:
        """Weaves the lowest bit."""
        n_panels, _, n_blocks, _ = w.shape
        columns = (w & 1).reshape(n_panels, ROWS, n_blocks, 8, 4)  # p r b j t
        eight = np.zeros((n_panels, ROWS, n_blocks, 4), np.uint8)
        for j in range(8):
            eight |= columns[..., j, :] << j
        return eight.transpose(0, 2, 1, 3).reshape(n_panels, n_blocks, 64)

    @staticmethod
    def unpack(piece: np.ndarray) -> np.ndarray:
        """The inverse of `pack`."""
        n_panels, n_blocks, _ = piece.shape
        eight = piece.reshape(n_panels, n_blocks, ROWS, 4).transpose(0, 2, 1, 3)  # p r b t
        columns = np.stack([eight >> j & 1 for j in range(8)], axis=3)
        return columns.reshape(n_panels, ROWS, n_blocks, 32)


def pack_scales(fields: np.ndarray, items: tuple[int, ...]) -> np.ndarray:
    """Weaves the scales of blocks: each item (2 bytes of a half float, or 1) of all sixteen rows, then the next item.

    `fields` is uint8 [n_panels, 16, n_blocks, sum(items)]; the result is [n_panels, n_blocks, 16 * sum(items)].
    """
    n_panels, _, n_blocks, _ = fields.shape
    woven, at = [], 0
    for n_bytes in items:
        item = fields[..., at : at + n_bytes].transpose(0, 2, 1, 3)
        woven.append(item.reshape(n_panels, n_blocks, ROWS * n_bytes))
        at += n_bytes
    return np.concatenate(woven, axis=-1)


def unpack_scales(woven: np.ndarray, items: tuple[int, ...]) -> np.ndarray:
    """The inverse of `pack_scales`."""
    n_panels, n_blocks, _ = woven.shape
    fields, at = [], 0
    for n_bytes in items:
        item = woven[..., at : at + ROWS * n_bytes].reshape(n_panels, n_blocks, ROWS, n_bytes)
        fields.append(item.transpose(0, 2, 1, 3))
        at += ROWS * n_bytes
    return np.concatenate(fields, axis=-1)


def to_panels(rows: np.ndarray) -> np.ndarray:
    """Rows [n_rows, ...] as [n_panels, 16, ...]; rows that the matrix does not have are zeros."""
    n_rows = len(rows)
    n_panels = -(-n_rows // ROWS)
    if n_rows != n_panels * ROWS:
        rows = np.concatenate([rows, np.zeros((n_panels * ROWS - n_rows, *rows.shape[1:]), rows.dtype)])
    return rows.reshape(n_panels, ROWS, *rows.shape[1:])
