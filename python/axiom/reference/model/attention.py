"""Grouped-query attention over tiles of 128 positions (docs/arithmetic.md, section 5, "attention").

The softmax is computed tile by tile and joined as it goes (Milakov and Gimelshein 2018, "Online normalizer
calculation for softmax"). Tiles lie on a grid from position 0 of the sequence, so a query's bits do not depend on which
other queries are computed with it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from axiom.reference.arithmetic.elementary import exp, sum16

POSITIONS_PER_TILE = 128


def attention(q: np.ndarray, first_pos: int, tiles: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Attends from consecutive positions of one sequence to all positions up to each.

    q: f32 [n_tokens, n_head, head_dim], of positions first_pos, first_pos + 1, ...
    tiles: the sequence's keys and values, in order, two f32 [n_head_kv, 128, head_dim] each.
    Returns f32 [n_tokens, n_head, head_dim].
    """
    n_tokens, n_head, head_dim = q.shape
    q = scaled(q)
    m = total = o = np.zeros(0, np.float32)
    for tile_idx, (k, v) in enumerate(tiles):
        n_head_kv = len(k)
        # Query head h reads the keys of head h // group: [n_head_kv, group, n_tokens, head_dim].
        grouped = q.reshape(n_tokens, n_head_kv, n_head // n_head_kv, head_dim).transpose(1, 2, 0, 3)
        tile_pos = tile_idx * POSITIONS_PER_TILE
        if tile_idx == 0:
            m, total, o = softmax_tile(grouped, first_pos, k, v)
            continue
        # Queries before this tile do not see it, and nothing of theirs is touched.
        first = max(0, tile_pos - first_pos)
        later = softmax_tile(grouped[:, :, first:], first_pos + first - tile_pos, k, v)
        m[..., first:], total[..., first:], o[..., first:, :] = join_tiles(
            (m[..., first:], total[..., first:], o[..., first:, :]), later
        )
    out = o / total[..., None]
    return out.transpose(2, 0, 1, 3).reshape(n_tokens, n_head, head_dim)


def scaled(q: np.ndarray) -> np.ndarray:
    """q * (1 / sqrt(head_dim))."""
    return q * (np.float32(1) / np.sqrt(np.float32(q.shape[-1])))


def softmax_tile(
    q: np.ndarray, first_pos: int, k: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One tile, of which the first query sees positions 0 ... first_pos, the next one more, and so on.

    q: f32 [n_head_kv, group, n_tokens, head_dim], scaled; k and v: f32 [n_head_kv, 128, head_dim].
    Returns the maximum score m [n_head_kv, group, n_tokens], the sum of the weights, same shape, and the weighted
    sum of the values o [n_head_kv, group, n_tokens, head_dim].
    """
    n_pos = min(first_pos + q.shape[2], k.shape[1])  # positions that any query sees
    k, v = k[:, :n_pos], v[:, :n_pos]
    s = np.zeros((*q.shape[:3], n_pos), np.float32)
    for e in range(q.shape[3]):
        s += q[..., e, None] * k[:, None, None, :, e]

    unseen = np.arange(n_pos) > first_pos + np.arange(q.shape[2])[:, None]
    s[:, :, unseen] = -np.inf
    m = s.max(axis=-1)
    # An unseen position has weight exp(-inf) = +0, which changes no sum.
    w = exp(s - m[..., None])
    total = sum16(w)

    o = np.zeros(q.shape, np.float32)
    for p in range(n_pos):
        # Nothing of an unseen value is added: +0 times an infinity would be NaN.
        first = max(0, p - first_pos)
        o[:, :, first:] += w[:, :, first:, p, None] * v[:, None, None, p]
    return m, total, o


def join_tiles(
    before: tuple[np.ndarray, np.ndarray, np.ndarray], tile: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joins what the tiles so far gave with the next one: both are brought to the larger maximum and added."""
    m, total, o = before
    mt, lt, ot = tile
    larger = np.where(m > mt, m, mt)
    a, b = exp(m - larger), exp(mt - larger)
    return larger, total * a + lt * b, o * a[..., None] + ot * b[..., None]
