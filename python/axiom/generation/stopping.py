"""Where a text stops: stop tokens, and stop strings found in a stream of pieces.

The rule, free of how the text was cut into pieces: the stop string that is complete first stops the text; of those
complete at the same character, the longest. The text is what stands before it. So no character of a stop string is
ever given out, and a character is held back only while it may still be one.

The search is the automaton of Aho and Corasick (1975), which looks at each character once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from axiom.arguments import BYTES

__all__ = ["StopMatcher", "checked_stops"]


def checked_stops(stop: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return stop strings, of which there may be one, several or none. Raises `TypeError` and `ValueError`."""
    if stop is None:
        return ()
    if isinstance(stop, BYTES) or not isinstance(stop, Iterable):
        raise TypeError(f"stop: expected a string or a list of strings, got {stop!r}")
    strings = (stop,) if isinstance(stop, str) else tuple(stop)
    for string in strings:
        if not isinstance(string, str):
            raise TypeError(f"stop: expected strings, got {string!r}")
        if not string:
            raise ValueError("stop: expected strings of one character or more, got ''")
    return strings


class StopMatcher:
    """Streams text pieces through and stops before the first stop string.

    >>> matcher = StopMatcher(["\\n\\n"])
    >>> matcher.push("One.\\n"), matcher.push("Two.\\n"), matcher.push("\\nThree.")
    ('One.', '\\nTwo.', '')
    >>> matcher.stopped_by
    '\\n\\n'
    """

    def __init__(self, strings: str | Iterable[str] = (), tokens: Iterable[int] = ()) -> None:
        """Stop before any of `strings` (one, or several) and at any of `tokens`."""
        self.strings = checked_stops(strings)
        self.tokens = frozenset(tokens)
        self._build()
        self._node = 0
        self._held = ""
        self.stopped_by: str | int | None = None
        """The stop string or the stop token that ended the text; None while it goes on."""

    @property
    def stopped(self) -> bool:
        """Whether the text has ended."""
        return self.stopped_by is not None

    def push_token(self, token: int) -> bool:
        """Whether `token` is a stop token. If so the text has ended, and `flush` gives what was held back."""
        self._refuse_after_the_end()
        if token in self.tokens:
            self.stopped_by = int(token)
        return self.stopped

    def push(self, piece: str) -> str:
        """Takes the next `piece` of text and gives what is certain to stand before every stop string."""
        self._refuse_after_the_end()
        text = self._held + piece
        for idx in range(len(self._held), len(text)):
            self._node = self._next(self._node, text[idx])
            found = self._longest_end[self._node]
            if found:
                self.stopped_by = found
                self._held = ""
                return text[: idx + 1 - len(found)]
        # The characters that begin some stop string stay; the rest can no longer be part of one.
        n_certain = len(text) - self._depth[self._node]
        self._held = text[n_certain:]
        return text[:n_certain]

    def flush(self) -> str:
        """Gives what was held back, once no more text can come: it was part of no stop string after all."""
        held, self._held, self._node = self._held, "", 0
        return held

    def _refuse_after_the_end(self) -> None:
        if self.stopped:
            raise RuntimeError(f"the text was stopped by {self.stopped_by!r}; use a new StopMatcher for another text")

    def _build(self) -> None:
        """The trie of the stop strings, and for each node the longest proper suffix that is a node too."""
        self._edges: list[dict[str, int]] = [{}]
        self._depth = [0]
        self._longest_end = [""]
        for string in self.strings:
            node = 0
            for character in string:
                if character not in self._edges[node]:
                    self._edges[node][character] = len(self._edges)
                    self._edges.append({})
                    self._depth.append(self._depth[node] + 1)
                    self._longest_end.append("")
                node = self._edges[node][character]
            self._longest_end[node] = string
        self._suffix = [0] * len(self._edges)
        queue = deque(self._edges[0].values())
        while queue:
            node = queue.popleft()
            for character, child in self._edges[node].items():
                queue.append(child)
                self._suffix[child] = self._next(self._suffix[node], character)
                # A node's own string is longer than any that ends at its suffix.
                self._longest_end[child] = self._longest_end[child] or self._longest_end[self._suffix[child]]

    def _next(self, node: int, character: str) -> int:
        """The node of the longest suffix of the text so far that begins some stop string."""
        while node and character not in self._edges[node]:
            node = self._suffix[node]
        return self._edges[node].get(character, 0)
