"""Counter-based random numbers: Philox4x32-10.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A number is a pure function of
seed and position: there is no state to save, to restore or to advance.
"""

from __future__ import annotations

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
"""The golden ratio and sqrt(3) - 1, as in the paper: what the key grows by between rounds."""
N_ROUNDS = 10
MASK = 0xFFFFFFFF


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """The block of four random words that belongs to `counter` under `key`."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(N_ROUNDS):
        product0 = MULTIPLIERS[0] * c0
        product1 = MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & MASK, (product0 >> 32) ^ c3 ^ k1, product0 & MASK
        k0 = (k0 + WEYL[0]) & MASK
        k1 = (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def uniform(seed: int, position: int) -> float:
    """The random number of `position` under `seed`: a multiple of 2**-53, at least 0 and below 1."""
    words = philox4x32((position, 0, 0, 0), (seed & MASK, seed >> 32))
    return float((words[0] << 32 | words[1]) >> 11) * 2.0**-53
