"""The sampler chain, step for step as `docs/sampling.md` has it.

A step takes the tokens still in play, in order of rank, with their logits, and gives those that stay in play. Every
step ranks by sorting all of them; the native twin reaches the same tokens without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from axiom.reference.arithmetic.float64 import exp, ln
from axiom.reference.sample.parameters import Parameters, integer_in
from axiom.reference.sample.random import uniform
from axiom.reference.sample.sum16 import sum16

Tokens = NDArray[np.int64]
Weights = NDArray[np.float64]


def rank(tokens: Tokens, keys: Weights) -> Tokens:
    """The order that puts `keys` [n] descending, ties to the lower token."""
    return np.lexsort((tokens, -keys))


class Sampler:
    """Chooses tokens from logits; the same tokens as `axiom._native.Sampler`."""

    def __init__(
        self,
        n_vocab: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repeat_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_last_n: int = 64,
        logit_bias: Mapping[int, float] | None = None,
        seed: int = 0,
    ) -> None:
        """Check the settings; `docs/sampling.md` has their meanings, ranges and neutral values."""
        self.n_vocab = n_vocab
        self.parameters = Parameters(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            typical_p=typical_p,
            repeat_penalty=repeat_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            repeat_last_n=repeat_last_n,
            logit_bias=logit_bias,
            seed=seed,
        )
        self.parameters.check(n_vocab)

    def canonical_bytes(self) -> bytes:
        """The settings as bytes, for a receipt."""
        return self.parameters.canonical_bytes()

    def sample(self, logits: NDArray[np.float32], history: Sequence[int], position: int) -> int:
        """The token for `position`, from its `logits` [n_vocab] and the tokens before it, latest last."""
        position = integer_in("position", position, "from 0 to 4294967295", 0, 2**32 - 1)
        tokens, weights, total = self._weighted(logits, history)
        target = uniform(self.parameters.seed, position) * total
        exceeded = np.flatnonzero(np.add.accumulate(weights) > target)
        return int(tokens[exceeded[0] if len(exceeded) else -1])

    def distribution(self, logits: NDArray[np.float32], history: Sequence[int]) -> list[tuple[int, float]]:
        """The tokens that `sample` may choose, by rank, each with its probability."""
        tokens, weights, total = self._weighted(logits, history)
        return list(zip(tokens.tolist(), (weights / total).tolist(), strict=True))

    def logprobs(
        self, logits: NDArray[np.float32], token: int, top_n: int = 0
    ) -> tuple[float, list[tuple[int, float]]]:
        """The log-probability of `token` under unmodified `logits` [n_vocab], and the `top_n` best with theirs.

        None of the settings plays a part here.
        """
        self._check_logits(logits)
        last = self.n_vocab - 1
        token = integer_in("token", token, f"from 0 to {last}", 0, last)
        top_n = integer_in("top_n", top_n, f"from 0 to {self.n_vocab}", 0, self.n_vocab)
        bad = np.flatnonzero(~np.isfinite(logits))
        if len(bad):
            raise _bad_logit(logits, int(bad[0]), "finite")
        tokens = np.arange(self.n_vocab)
        wide = logits.astype(np.float64)
        relative = wide - wide.max()
        ln_p = relative - ln(sum16(tokens, np.asarray(exp(relative)), self.n_vocab))
        best = tokens[rank(tokens, wide)][:top_n]
        return float(ln_p[token]), [(int(entry), float(ln_p[entry])) for entry in best]

    def _weighted(self, logits: NDArray[np.float32], history: Sequence[int]) -> tuple[Tokens, Weights, np.float64]:
        """Steps 1 to 9 up to the draw: the tokens by rank, their weights, and the sum of the weights."""
        settings = self.parameters
        self._check_logits(logits)
        bad = np.flatnonzero(~(logits < np.inf))
        if len(bad):
            raise _bad_logit(logits, int(bad[0]), "finite, or -inf for a token that must not come")
        adjusted = logits.astype(np.float64)
        self._add_bias(adjusted)
        if settings.has_penalties:
            self._penalise(adjusted, history)
        tokens = np.flatnonzero(adjusted > -np.inf)
        if len(tokens) == 0:
            raise ValueError(
                "every token is excluded (a logit of -inf after bias and penalties); leave at least one token possible"
            )
        tokens = tokens[rank(tokens, adjusted[tokens])]
        if settings.temperature == 0.0:
            return tokens[:1], np.ones(1), np.float64(1.0)
        if settings.top_k:
            tokens = tokens[: settings.top_k]
        if settings.typical_p < 1.0:
            tokens = self._typical(tokens, adjusted[tokens])
        if settings.top_p < 1.0:
            tokens = self._top_p(tokens, adjusted[tokens])
        if settings.min_p > 0.0:
            tokens = tokens[adjusted[tokens] >= adjusted[tokens[0]] + ln(settings.min_p)]
        weights, total = self._weigh(tokens, adjusted[tokens], settings.temperature)
        without_weight = np.flatnonzero(weights == 0.0)
        n_drawable = without_weight[0] if len(without_weight) else len(tokens)
        return tokens[:n_drawable], weights[:n_drawable], total

    def _check_logits(self, logits: NDArray[np.float32]) -> None:
        if not isinstance(logits, np.ndarray) or logits.dtype != np.float32 or logits.ndim != 1:
            raise TypeError("logits must be a one-dimensional float32 array")
        if len(logits) != self.n_vocab:
            raise ValueError(f"logits must hold one value for each of the {self.n_vocab} tokens, got {len(logits)}")

    def _add_bias(self, logits: Weights) -> None:
        for token, bias in (self.parameters.logit_bias or {}).items():
            logits[token] += bias

    def _penalise(self, logits: Weights, history: Sequence[int]) -> None:
        """Repetition, presence and frequency penalties over the window, each token once."""
        settings = self.parameters
        n_window = len(history) if settings.repeat_last_n == -1 else min(settings.repeat_last_n, len(history))
        last = self.n_vocab - 1
        window = [
            integer_in("token of history", token, f"from 0 to {last}", 0, last)
            for token in history[len(history) - n_window :]
        ]
        for token, count in Counter(window).items():
            logit = logits[token]
            logit = logit * settings.repeat_penalty if logit <= 0.0 else logit / settings.repeat_penalty
            logits[token] = logit - (float(count) * settings.frequency_penalty + settings.presence_penalty)

    def _weigh(self, tokens: Tokens, logits: Weights, temperature: float) -> tuple[Weights, np.float64]:
        """exp((logit - largest logit) / temperature) of each token [n], and their sum."""
        # A tiny temperature may carry a quotient to -infinity, whose weight is 0.
        with np.errstate(over="ignore"):
            weights = np.asarray(exp((logits - logits.max()) / temperature))
        return weights, sum16(tokens, weights, self.n_vocab)

    def _typical(self, tokens: Tokens, logits: Weights) -> Tokens:
        """Keep tokens whose surprise is near the entropy, until they hold enough probability."""
        weights, total = self._weigh(tokens, logits, 1.0)
        p = weights / total
        ln_p = (logits - logits.max()) - ln(total)
        minus_entropy = sum16(tokens, p * ln_p, self.n_vocab)
        order = rank(tokens, -np.abs(ln_p - minus_entropy))
        exceeded = np.flatnonzero(np.add.accumulate(p[order]) > self.parameters.typical_p)
        kept = order[: exceeded[0] + 1] if len(exceeded) else order
        # Back into the order of rank by logit, in which the tokens came.
        return tokens[np.sort(kept)]

    def _top_p(self, tokens: Tokens, logits: Weights) -> Tokens:
        """Keep the most probable tokens, up to the one whose probability reaches `top_p`."""
        weights, total = self._weigh(tokens, logits, 1.0)
        reached = np.flatnonzero(np.add.accumulate(weights / total) >= self.parameters.top_p)
        return tokens[: reached[0] + 1] if len(reached) else tokens


def _bad_logit(logits: NDArray[np.float32], token: int, valid: str) -> ValueError:
    return ValueError(f"logit of token {token} must be {valid}, got {logits[token]}; the model or its cache is damaged")
