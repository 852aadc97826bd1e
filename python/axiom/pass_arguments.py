"""What is asked of one pass, checked: the same words from every body that is driven from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["check_out", "checked_counts", "checked_tokens_of"]


def checked_tokens_of(
    seqs: Sequence[int], tokens: Sequence[Sequence[int]], n_vocab: int, length: Callable[[int], int]
) -> list[npt.NDArray[np.int64]]:
    """Return the new tokens of each sequence. `length(seq)` is to raise for a sequence that is not open."""
    if len(seqs) != len(tokens):
        raise ValueError(f"expected as many lists of tokens as sequences, got {len(tokens)} for {len(seqs)}")
    checked: list[npt.NDArray[np.int64]] = []
    for i, (seq, given) in enumerate(zip(seqs, tokens, strict=True)):
        length(seq)
        if seq in seqs[:i]:
            raise ValueError(f"sequence {seq} is in the pass twice; give all its tokens in one list")
        ids = np.asarray(given)
        if not ids.size:
            raise ValueError(f"sequence {seq} has no new tokens; leave it out of the pass")
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"sequence {seq}: expected a list of whole numbers, got {given!r}")
        wrong = ids[(ids < 0) | (ids >= n_vocab)]
        if len(wrong):
            raise ValueError(f"sequence {seq}: expected tokens in 0 ... {n_vocab - 1}, got {wrong[0]}")
        checked.append(ids.astype(np.int64))
    return checked


def checked_counts(logits: Any, seqs: Sequence[int], new: Sequence[npt.NDArray[np.int64]]) -> list[int]:
    """Return how many of the new positions of each sequence, the last ones, get logits."""
    if isinstance(logits, str):
        if logits == "all":
            return [len(ids) for ids in new]
        if logits in ("last", "none"):
            return [int(logits == "last")] * len(new)
    if isinstance(logits, str) or not isinstance(logits, Sequence | np.ndarray):
        raise ValueError(
            f"logits: expected one of 'last', 'all', 'none', or a number for each sequence, got {logits!r}"
        )
    if len(logits) != len(new):
        raise ValueError(f"logits: expected a number for each of {len(new)} sequences, got {len(logits)}")
    for seq, ids, n in zip(seqs, new, logits, strict=True):
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 0 <= n <= len(ids):
            raise ValueError(
                f"sequence {seq}: expected a number of logit rows in 0 ... {len(ids)}, its new tokens, got {n}"
            )
    return [int(n) for n in logits]


def check_out(out: npt.NDArray[np.float32], shape: tuple[int, int]) -> None:
    """Raise `ValueError` if `out` is no room for logits of that shape."""
    if out.dtype != np.float32 or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out: expected a writeable, contiguous float32 array of shape {list(shape)}, "
            f"got {out.dtype} {list(out.shape)}"
        )
