"""How the codes of a block of 32 columns lie in a panel of 16 rows (docs/formats.md).

A code is the unsigned integer that a format stores for a weight. Four pieces serve all widths: a format of five bits
is Nibbles and Bits. All serve one instruction: byte `r * 4 + t` of 64 always belongs to row r, and the four bytes of a
row are the four columns that an integer dot instruction multiplies at once.

Shapes: `w` is uint8 [n_panels, 16, n_blocks, 32], a piece is uint8 [n_panels, n_blocks, n_bytes].
"""

from __future__ import annotations

import numpy as np

ROWS = 16


class Bytes:
    """Eight bits a weight, 512 bytes a block: byte g*64 + r*4 + t is column 4g + t."""

    n_bytes = 512

    @staticmethod
    def pack(w: np.ndarray) -> np.ndarray:
        """Weaves codes of eight bits."""
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


class Crumbs:
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
