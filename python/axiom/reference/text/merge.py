"""The loop that both algorithms share: join the adjacent pair of symbols that comes first, until none can be joined.

"First" is the lowest key, and among equal keys the leftmost. A linked list of symbols and a heap of (key, position)
give O(n log n) for any text. Entries of the heap are never removed when a join makes them stale; an entry counts only
while its position still begins a pair with its key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass
class Symbol:
    """A stretch `start:end` of the text that is one token so far."""

    id: int | None
    """The token, or None if the vocabulary has none for these bytes."""
    start: int
    end: int
    prev: int | None = None
    next: int | None = None
    join: tuple[float, int] | None = None
    """Key of the pair with the next symbol, and the token it becomes; None if it cannot be joined."""


def merge(symbols: list[Symbol], join: Callable[[Symbol, Symbol], tuple[float, int] | None]) -> list[Symbol]:
    """Join pairs until none can be; `join` says what two neighbours become. Return what is left, in order."""
    queue: list[tuple[float, int]] = []

    def consider(idx: int) -> None:
        """Note what symbol `idx` and its right neighbour become."""
        left = symbols[idx]
        left.join = None if left.next is None else join(left, symbols[left.next])
        if left.join is not None:
            heappush(queue, (left.join[0], idx))

    for idx, symbol in enumerate(symbols):
        symbol.prev = idx - 1 if idx > 0 else None
        symbol.next = idx + 1 if idx + 1 < len(symbols) else None
    for idx in range(len(symbols)):
        consider(idx)
    while queue:
        key, idx = heappop(queue)
        left = symbols[idx]
        if left.join is None or left.join[0] != key:
            continue
        assert left.next is not None
        right = symbols[left.next]
        # The right symbol leaves the list; it can begin no pair any more.
        right.join = None
        left.id, left.end, left.next = left.join[1], right.end, right.next
        if right.next is not None:
            symbols[right.next].prev = idx
        consider(idx)
        if left.prev is not None:
            consider(left.prev)

    left_over: list[Symbol] = []
    at = 0 if symbols else None
    while at is not None:
        left_over.append(symbols[at])
        at = symbols[at].next
    return left_over
