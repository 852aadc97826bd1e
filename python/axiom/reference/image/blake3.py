"""BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020), unkeyed, 256 bits: all chunks side by side.

The input is cut into chunks of 1024 bytes, each of up to 16 blocks of 64 bytes that are compressed one after the other.
The chunks' chaining values are the leaves of a binary tree whose left side is always a whole power of two.
"""

from __future__ import annotations

import numpy as np

_IV = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
_PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
# Columns, then diagonals.
_MIXED = [
    *[(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)],
    *[(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)],
]
# Chunks that are hashed side by side: enough for numpy, few enough for the caches.
_AT_ONCE = 4096


def _rotated(x: np.ndarray, n: int) -> np.ndarray:
    return (x >> np.uint32(n)) | (x << np.uint32(32 - n))


def _compress(cv: np.ndarray, words: np.ndarray, counter: np.ndarray, n_bytes: np.ndarray, flags: int) -> np.ndarray:
    """Compresses blocks side by side: cv u32 [8, n], words u32 [16, n], counter u64 [n]; returns u32 [8, n]."""
    n = words.shape[1]
    v = np.empty((16, n), np.uint32)
    v[:8] = cv
    v[8:12] = _IV[:4, None]
    v[12] = counter & 0xFFFFFFFF
    v[13] = counter >> 32
    v[14] = n_bytes
    v[15] = flags
    order = list(range(16))
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(_MIXED):
            for word, turn_d, turn_b in ((words[order[2 * i]], 16, 12), (words[order[2 * i + 1]], 8, 7)):
                v[a] += v[b] + word
                v[d] = _rotated(v[d] ^ v[a], turn_d)
                v[c] += v[d]
                v[b] = _rotated(v[b] ^ v[c], turn_b)
        order = [order[p] for p in _PERMUTATION]
    return v[:8] ^ v[8:]


def _chunk_values(data: np.ndarray, first: int, flags: int) -> np.ndarray:
    """The chaining values of whole chunks, u32 [8, n], or of one that is shorter; `first` is its number."""
    if len(data) % 1024:
        padded = np.zeros(-(-max(len(data), 1) // 64) * 64, np.uint8)
        padded[: len(data)] = data
        n, n_blocks, last = 1, len(padded) // 64, (len(data) - 1) % 64 + 1
    else:
        padded, n, n_blocks, last = data, max(1, len(data) // 1024), 16, 64
        if not len(data):
            padded, n_blocks, last = np.zeros(64, np.uint8), 1, 0
    words = padded.view("<u4").astype(np.uint32).reshape(n, n_blocks, 16).transpose(1, 2, 0)
    counter = np.arange(first, first + n, dtype=np.uint64)
    cv = np.repeat(_IV[:, None], n, axis=1)
    for i in range(n_blocks):
        is_last = i == n_blocks - 1
        block_flags = (_CHUNK_START if i == 0 else 0) | ((_CHUNK_END | flags) if is_last else 0)
        size = np.full(n, last if is_last else 64, np.uint32)
        cv = _compress(cv, np.ascontiguousarray(words[i]), counter, size, block_flags)
    return cv


def _parents(left: np.ndarray, right: np.ndarray, flags: int) -> np.ndarray:
    n = left.shape[1]
    words = np.concatenate([left, right])
    zeros, size = np.zeros(n, np.uint64), np.full(n, 64, np.uint32)
    return _compress(np.repeat(_IV[:, None], n, axis=1), words, zeros, size, _PARENT | flags)


def blake3(data: bytes | bytearray | memoryview | np.ndarray) -> bytes:
    """The digest of some bytes, what `b3sum` says of them.

    >>> blake3(b"").hex()[:16]
    'af1349b9f5f9a1a6'
    """
    content = np.frombuffer(data, np.uint8)
    with np.errstate(over="ignore"):
        if len(content) <= 1024:
            return bytes(_chunk_values(content, 0, _ROOT)[:, 0].astype("<u4").tobytes())
        n_whole = len(content) // 1024
        values = [
            _chunk_values(content[start * 1024 : min(start + _AT_ONCE, n_whole) * 1024], start, 0)
            for start in range(0, n_whole, _AT_ONCE)
        ]
        if len(content) % 1024:
            values.append(_chunk_values(content[n_whole * 1024 :], n_whole, 0))
        level = np.concatenate(values, axis=1)
        # Level by level: pairs are joined, and a value without a partner goes up as it is.
        while level.shape[1] > 1:
            n_pair = level.shape[1] // 2
            flags = _ROOT if level.shape[1] == 2 else 0
            joined = _parents(level[:, 0 : 2 * n_pair : 2], level[:, 1 : 2 * n_pair : 2], flags)
            level = np.concatenate([joined, level[:, 2 * n_pair :]], axis=1)
        return level[:, 0].astype("<u4").tobytes()
