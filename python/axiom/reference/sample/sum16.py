"""The one order in which weights are added: `sum16` of `docs/arithmetic.md`, in binary64, lane = token mod 16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sum16(tokens: NDArray[np.int64], weights: NDArray[np.float64], n_vocab: int) -> np.float64:
    """The sum of `weights` [n] that belong to the distinct `tokens` [n]; every other token adds +0."""
    rows = np.zeros(-(-n_vocab // 16) * 16)
    rows[tokens] = weights
    # Row after row onto sixteen partial sums: accumulate is sequential by definition, sum is not.
    lanes = np.add.accumulate(rows.reshape(-1, 16), axis=0)[-1]
    for half in (8, 4, 2, 1):
        lanes = lanes[:half] + lanes[half : 2 * half]
    # A sequential sum starts at +0, so that a sum of zeros is never -0.
    total: np.float64 = lanes[0] + 0.0
    return total
