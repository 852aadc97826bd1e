"""What a generation returns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from axiom.record import Record

if TYPE_CHECKING:
    from axiom.generation.receipt import Receipt

__all__ = ["Completion", "FinishReason", "Score", "Timings", "TokenLogprob", "Usage"]

FinishReason = Literal["eos", "stop", "length", "context", "cancelled", "timeout"]


class Usage(Record):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {**self.fields(), "total_tokens": self.total_tokens}


class Timings(Record):
    """Seconds, by the clock on the wall. In a batch, a pass counts in full for every sequence in it."""

    prefill_s: float
    """From the start until the logits after the prompt."""
    decode_s: float
    """From then until the last token."""
    prefill_tokens: int
    """Prompt positions that were computed."""
    decode_tokens: int
    """Tokens after the first."""
    decode_passes: int
    """Passes over the weights for them: fewer where guesses of what comes next were right."""

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt positions for each second."""
        return self.prefill_tokens / self.prefill_s if self.prefill_s > 0 else 0.0

    @property
    def decode_tokens_per_s(self) -> float:
        """Tokens for each second, after the first one."""
        return self.decode_tokens / self.decode_s if self.decode_s > 0 else 0.0

    @property
    def tokens_per_pass(self) -> float:
        """Tokens for each pass, after the first one; above 1 where guesses were right."""
        return self.decode_tokens / self.decode_passes if self.decode_passes else 0.0

    def as_dict(self) -> dict[str, int | float]:
        """Return seconds, counts and rates by name."""
        rates = ("prefill_tokens_per_s", "decode_tokens_per_s", "tokens_per_pass")
        return {**self.fields(), **{name: getattr(self, name) for name in rates}}


class TokenLogprob(Record):
    """Natural logarithm of a chosen token's probability, by the model's own logits before any sampling setting."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    """The most probable tokens and their log-probabilities, in order; as many as were asked for."""

    def as_dict(self) -> dict[str, Any]:
        """Return them by name."""
        top = [{"token": token, "logprob": logprob} for token, logprob in self.top]
        return {"token": self.token, "logprob": self.logprob, "top": top}


class Completion(Record):
    """The result of one generation."""

    text: str
    """The text of `tokens`, less an end-of-generation token or stop string at its end."""
    tokens: tuple[int, ...]
    """Every token that was chosen, an end-of-generation token included."""
    finish_reason: FinishReason
    """Why it ended: "eos" (the model ended it), "stop" (a stop string or token), "length" (`max_tokens`), "context"
    (no position left), "cancelled", "timeout"."""
    usage: Usage
    timings: Timings
    seed: int
    """What keyed the random numbers: the seed asked for, or the one that was drawn."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One entry for each of `tokens`, if asked for."""
    receipt: Receipt | None = None

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, which `json.dumps` takes; "logprobs" and "receipt" where they were asked for."""
        plain = self.fields() | {
            "tokens": list(self.tokens),
            "usage": self.usage.as_dict(),
            "timings": self.timings.as_dict(),
            "logprobs": None if self.logprobs is None else [entry.as_dict() for entry in self.logprobs],
            "receipt": None if self.receipt is None else self.receipt.as_dict(),
        }
        return {name: value for name, value in plain.items() if value is not None}


class Score(Record):
    """How probable a model finds a text."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural logarithm of the probability of `tokens[1]`, `tokens[2]`, … after all tokens before each."""

    @property
    def perplexity(self) -> float:
        """exp of minus the mean of `logprobs`; infinity where that is beyond every float.

        >>> Score((3, 4), (-1000.0,)).perplexity
        inf
        """
        try:
            return math.exp(-self.total_logprob / len(self.logprobs))
        except OverflowError:
            return math.inf

    @property
    def total_logprob(self) -> float:
        """Sum of `logprobs`."""
        return sum(self.logprobs)
