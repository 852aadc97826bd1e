"""Drafts by n-grams: what followed the last few tokens when they stood in the text before.

A draft costs no model. The engine computes it together with the token that is due, in one pass over the weights; the
sampler then chooses each token from its own logits, and the draft is kept as far as it agrees. The bits of a row do
not depend on what else is in the pass, so the text is the plain text; only the number of passes changes. It pays where
a pass costs the same for many tokens as for one: while weights are streamed from a disk.

Saxena, "Prompt Lookup Decoding", 2023; Leviathan, Kalman and Matias, "Fast Inference from Transformers via Speculative
Decoding", 2023, for the verification.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["NgramDrafter"]

# The longest run of tokens that is looked up, and the shortest: one token alone says little about the next.
_LONGEST, _SHORTEST = 4, 2
# Tokens of a draft: at first, at least, at most.
_FIRST, _FEWEST, _MOST = 4, 2, 32


class NgramDrafter:
    """Grows with a text, and guesses how it goes on.

    >>> drafter = NgramDrafter()
    >>> drafter.extend([7, 1, 2, 3, 4, 5, 1, 2])
    >>> drafter.draft(3)
    [3, 4, 5]
    >>> drafter.extend([1, 2])
    >>> drafter.draft(4)
    [1, 2, 1, 2]
    """

    def __init__(self) -> None:
        """Begin with no text."""
        self._tokens: list[int] = []
        # Where the text went on after the latest occurrence of a run, the one at its end left out.
        self._continuation: dict[tuple[int, ...], int] = {}
        self._n_draft = _FIRST

    def extend(self, tokens: Sequence[int]) -> None:
        """Append `tokens` to the text."""
        for token in tokens:
            end = len(self._tokens)
            for n in range(_SHORTEST, min(_LONGEST, end) + 1):
                self._continuation[tuple(self._tokens[end - n :])] = end
            self._tokens.append(token)

    def draft(self, n_max: int) -> list[int]:
        """Return up to `n_max` tokens that may come next; none where the text's end is new."""
        end = len(self._tokens)
        n_draft = min(n_max, self._n_draft)
        for n in range(min(_LONGEST, end), _SHORTEST - 1, -1):
            start = self._continuation.get(tuple(self._tokens[end - n :]))
            if start is not None:
                # A text that repeats itself goes on into the draft.
                period = end - start
                return [self._tokens[start + i % period] for i in range(n_draft)]
        return []

    def learn(self, n_drafted: int, n_accepted: int) -> None:
        """Adapt the length of drafts: longer after one that was right to its end, else as long as it was right."""
        if n_drafted:
            grown = 2 * n_drafted if n_accepted == n_drafted else n_accepted + 1
            self._n_draft = min(_MOST, max(_FEWEST, grown))
