"""How Q4_0, Q4_1, Q5_0 and Q5_1 spread 32 codes over bytes.

Sixteen bytes hold the low four bits: byte j has w[j] in its low nibble and w[j + 16] in its high one. The formats of
five bits add a little-endian u32 whose bit j is the fifth bit of w[j].
"""

from __future__ import annotations

import numpy as np


def read_nibbles(qs: np.ndarray) -> np.ndarray:
    """uint8 [..., 16] as the low four bits of uint8 [..., 32]."""
    return np.concatenate([qs & 15, qs >> 4], axis=-1)


def write_nibbles(w: np.ndarray) -> np.ndarray:
    """The inverse of `read_nibbles`; higher bits of w are ignored."""
    return w[..., :16] & 15 | w[..., 16:] << 4


def read_fifth_bits(qh: np.ndarray) -> np.ndarray:
    """uint8 [..., 4] as 0 or 16 in uint8 [..., 32]."""
    return np.unpackbits(qh, axis=-1, bitorder="little") << 4


def write_fifth_bits(w: np.ndarray) -> np.ndarray:
    """The inverse of `read_fifth_bits`; other bits of w are ignored."""
    return np.packbits(w >> 4 & 1, axis=-1, bitorder="little")
