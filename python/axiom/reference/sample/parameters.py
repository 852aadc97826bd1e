"""The settings of the sampler: neutral values, valid ranges, and the bytes that a receipt hashes.

The ranges keep every number in the chain finite: a logit is at most 3.5e38 in magnitude, and the widest bias and
penalties here cannot carry it out of binary64. So the chain itself needs no check for overflow.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from operator import index

N_VOCAB_MAX = 1 << 31
"""The largest vocabulary: token ids stay below 2**31, so that every language holds them in its plain integer."""

_PROBABILITY = "from 0 to 1 (1 keeps every token)"
_PENALTY = "from -1000 to 1000 (0 changes nothing)"

_FLOATS = {
    "temperature": ("finite and at least 0 (0 is greedy)", 0.0, float.fromhex("0x1.fffffffffffffp+1023")),
    "top_p": (_PROBABILITY, 0.0, 1.0),
    "min_p": ("from 0 to 1 (0 keeps every token)", 0.0, 1.0),
    "typical_p": (_PROBABILITY, 0.0, 1.0),
    "repeat_penalty": ("from 0.001 to 1000 (1 changes nothing)", 0.001, 1000.0),
    "presence_penalty": (_PENALTY, -1000.0, 1000.0),
    "frequency_penalty": (_PENALTY, -1000.0, 1000.0),
}
_INTEGERS = {
    "top_k": ("from 0 to 4294967295 (0 keeps every token)", 0, 2**32 - 1),
    "repeat_last_n": ("from -1 to 2147483647 (0 is no window, -1 the whole history)", -1, 2**31 - 1),
    "seed": ("from 0 to 18446744073709551615", 0, 2**64 - 1),
}


def integer_in(name: str, value: object, valid: str, low: int, high: int) -> int:
    """`value` as an integer from `low` to `high`; TypeError or ValueError name the argument and what came."""
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be {valid}, got {number}")
    return number


def float_of(name: str, value: object) -> float:
    """`value` as a float; TypeError names the argument and what came."""
    if isinstance(value, str | bytes):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        return float(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
    except OverflowError:
        raise ValueError(f"{name} is beyond every valid value, got an integer too large for a float") from None


@dataclass
class Parameters:
    """How a token is chosen. The defaults change nothing: they draw from the model's own distribution."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64
    logit_bias: Mapping[int, float] | None = None
    seed: int = 0

    def check(self, n_vocab: int) -> None:
        """Brings every setting to its type and into its range, or raises TypeError or ValueError."""
        integer_in("n_vocab", n_vocab, "from 1 to 2147483648", 1, N_VOCAB_MAX)
        for name, (valid, first, last) in _INTEGERS.items():
            setattr(self, name, integer_in(name, getattr(self, name), valid, first, last))
        for name, (valid, low, high) in _FLOATS.items():
            number = float_of(name, getattr(self, name))
            # Written so that NaN fails.
            if not low <= number <= high:
                raise ValueError(f"{name} must be {valid}, got {number}")
            setattr(self, name, number)
        self.logit_bias = self._checked_bias(n_vocab)

    def _checked_bias(self, n_vocab: int) -> dict[int, float]:
        """The bias in ascending order of token."""
        if self.logit_bias is None:
            return {}
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(f"logit_bias must be a dict of token to number, got {type(self.logit_bias).__name__}")
        checked: dict[int, float] = {}
        for key, value in self.logit_bias.items():
            token = integer_in("token of logit_bias", key, f"from 0 to {n_vocab - 1}", 0, n_vocab - 1)
            bias = float_of("logit_bias", value)
            if not (-1e9 <= bias <= 1e9 or bias == float("-inf")):
                raise ValueError(
                    f"logit_bias of token {token} must be from -1e9 to 1e9, or -inf to exclude the token, got {bias}"
                )
            checked[token] = bias
        return dict(sorted(checked.items()))

    @property
    def has_penalties(self) -> bool:
        """Whether repetition, presence or frequency changes any logit; the history is read only then."""
        changes = self.repeat_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0
        return self.repeat_last_n != 0 and changes

    def canonical_bytes(self) -> bytes:
        """The settings as bytes, the same in every body; `docs/receipts.md` gives the layout."""
        # Adding +0 turns -0, which chooses the same tokens, into +0.
        head = struct.pack("<7d", *(getattr(self, name) + 0.0 for name in _FLOATS))
        bias = self.logit_bias or {}
        counts = struct.pack("<IiQI", self.top_k, self.repeat_last_n, self.seed, len(bias))
        return head + counts + b"".join(struct.pack("<Id", token, value + 0.0) for token, value in bias.items())
