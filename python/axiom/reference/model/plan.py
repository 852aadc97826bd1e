"""Which extents stay in memory, and how much room the others land in: the twin of `model/plan.rs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axiom.errors import MemoryBudgetError

_LANDING = 2
# Rows of the embedding that are read at a time, each somewhere in whole pages.
_ROWS_AT_ONCE, _PAGE = 16, 4096


@dataclass
class MemoryPlan:
    """What is pinned, and the room for the rest."""

    extents: Sequence[int]
    """Bytes of each: the embedding, the layers, the output."""
    is_pinned: list[bool]
    n_landing: int
    bytes_landing: int
    bytes_rows: int
    """Room for rows of the embedding, where it is not pinned."""

    @classmethod
    def smallest(cls, extents: Sequence[int], panel_bytes: int, is_tied: bool) -> MemoryPlan:
        """The head and the landing slots alone, and the embedding where it is the head's."""
        layers = extents[1:-1]
        is_pinned = [False] * len(extents)
        is_pinned[-1] = True
        is_pinned[0] = is_tied
        row = -(-(panel_bytes + _PAGE - 1) // _PAGE) * _PAGE
        return cls(extents, is_pinned, min(_LANDING, len(layers)), max(layers, default=0), _ROWS_AT_ONCE * row)

    @classmethod
    def fit(cls, extents: Sequence[int], panel_bytes: int, is_tied: bool, budget: int) -> MemoryPlan:
        """The most that fits in `budget` bytes; MemoryBudgetError below the floor.

        `panel_bytes` are those of a panel of the embedding.
        """
        if sum(extents) <= budget:
            return cls(extents, [True] * len(extents), 0, 0, 0)
        plan = cls.smallest(extents, panel_bytes, is_tied)
        floor = plan.n_bytes
        if floor > budget:
            raise MemoryBudgetError(
                f"streaming the model needs {floor} bytes for weights at least, and the budget leaves {budget}; use a "
                "larger memory budget, a smaller n_ctx or fewer sequences"
            )
        n_layer = len(extents) - 2
        landing = plan.n_landing, plan.bytes_landing
        for n_pinned in range(n_layer, -1, -1):
            # Where all layers fit, nothing lands.
            plan.n_landing, plan.bytes_landing = (0, 0) if n_pinned == n_layer else landing
            plan.is_pinned[1:-1] = [(i + 1) * n_pinned // n_layer > i * n_pinned // n_layer for i in range(n_layer)]
            if plan.n_bytes <= budget:
                break
        return plan

    @property
    def n_bytes(self) -> int:
        """Bytes of what is pinned, of the landing slots, and of the embedding's rows."""
        pinned = sum(size for size, is_pinned in zip(self.extents, self.is_pinned, strict=True) if is_pinned)
        return pinned + self.n_landing * self.bytes_landing + (0 if self.is_pinned[0] else self.bytes_rows)

    @property
    def bytes_streamed(self) -> int:
        """Bytes that every pass reads."""
        layers = zip(self.extents[1:-1], self.is_pinned[1:-1], strict=True)
        return sum(size for size, is_pinned in layers if not is_pinned)
