"""How a token is chosen from logits: the settings, their defaults, and where a model's own defaults come from.

The chain itself is in each body (`axiom._native.Sampler`, `axiom.reference.Sampler`) and `docs/sampling.md` defines it.
Ranges are checked there, in one place for both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from axiom.arguments import integer, number
from axiom.model_file.gguf_cursor import MetadataValue
from axiom.model_file.metadata import shown
from axiom.record import Record

__all__ = ["Sampling"]

# GGUF keys with a model's recommended settings, and their names here. Keys for samplers that are not in the chain
# (xtc, mirostat) have no place in it and are left alone.
_METADATA_KEYS = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_last_n": "repeat_last_n",
    "general.sampling.penalty_repeat": "repeat_penalty",
}

_WHOLE_NUMBERS = ("top_k", "repeat_last_n")
_REAL_NUMBERS = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
)


class Sampling(Record):
    """Settings of the sampler chain. The defaults draw from the model's own distribution.

    >>> Sampling(temperature=0.0)
    Sampling(temperature=0.0)
    >>> Sampling(temperature=0.7, top_k=40).replace(top_k=0)
    Sampling(temperature=0.7)
    """

    temperature: float = 1.0
    """Divides the logits; 0 chooses the largest logit (greedy)."""
    top_k: int = 0
    """Keeps the k largest logits; 0 keeps all."""
    top_p: float = 1.0
    """Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all."""
    min_p: float = 0.0
    """Keeps tokens at least this many times as probable as the most probable one; 0 keeps all."""
    typical_p: float = 1.0
    """Keeps the most typical tokens whose probabilities exceed this sum; 1 keeps all."""
    repeat_penalty: float = 1.0
    """Divides positive and multiplies negative logits of recent tokens; 1 changes nothing."""
    presence_penalty: float = 0.0
    """Taken from the logit of every recent token."""
    frequency_penalty: float = 0.0
    """Taken from the logit of a recent token, once for each time it occurs."""
    repeat_last_n: int = 64
    """How many of the latest tokens, of prompt and output, are recent: 0 none, -1 all."""
    logit_bias: Mapping[int, float] = MappingProxyType({})
    """Added to the logits of single tokens; -inf excludes one."""
    seed: int | None = None
    """Keys the random numbers, with the position; None draws a seed, and the completion reports it."""

    def __post_init__(self) -> None:
        """Check types, so that a wrong one is named here and not deep inside a generation."""
        for name in _REAL_NUMBERS:
            self._set(name, number(name, getattr(self, name)))
        for name in _WHOLE_NUMBERS:
            self._set(name, integer(name, getattr(self, name)))
        if not isinstance(self.logit_bias, Mapping):
            raise TypeError(f"logit_bias: expected a mapping from token to number, got {self.logit_bias!r}")
        bias = {
            integer("token of logit_bias", token): number(f"logit_bias of token {token}", value)
            for token, value in self.logit_bias.items()
        }
        # Nobody checks it again, and others may share these settings: the defaults of a runtime, and what is kept.
        self._set("logit_bias", MappingProxyType(bias))
        if self.seed is not None:
            self._set("seed", integer("seed", self.seed))
            if not 0 <= self.seed < 1 << 64:
                raise ValueError(f"seed: expected a number from 0 to 2^64 - 1, got {self.seed}")

    def _set(self, name: str, value: Any) -> None:
        # The class is frozen, and its own setter with it.
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """Show the temperature, and what else differs from the defaults."""
        shown = [f"temperature={self.temperature!r}"]
        for name, value in [*self.as_dict().items()][1:]:
            if value != getattr(Sampling, name):
                shown.append(f"{name}={value!r}")
        return f"Sampling({', '.join(shown)})"

    def __hash__(self) -> int:
        """Hash the settings but the mapping."""
        return hash(tuple(value for name, value in self.fields().items() if name != "logit_bias"))

    def __reduce__(self) -> Any:
        """Be pickled and copied by the settings, since a read-only mapping cannot be."""
        return type(self), tuple(self.as_dict().values())

    def with_seed(self) -> Sampling:
        """Return it with a seed: its own, or one drawn now. Seeds stay below 2^53, so that JSON keeps them exactly."""
        return self if self.seed is not None else self.replace(seed=int.from_bytes(os.urandom(7), "little") >> 3)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, as the samplers of both bodies take them."""
        return {**self.fields(), "logit_bias": dict(sorted(self.logit_bias.items()))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, MetadataValue]) -> Sampling:
        """Return the settings that a model recommends in its header, over the defaults.

        Raises `ValueError` for what is no number, or part of a token; ranges are checked by the body that is to sample.
        """
        settings: dict[str, Any] = {}
        for key, name in _METADATA_KEYS.items():
            value = metadata.get(key)
            if value is None:
                continue
            is_whole = name in _WHOLE_NUMBERS
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f"{key}: expected a number, got {shown(value)}")
            if is_whole and isinstance(value, float) and not value.is_integer():
                raise ValueError(f"{key}: expected a whole number, got {value}")
            settings[name] = int(value) if is_whole else float(value)
        if "top_k" in settings:
            # In a header any number below 1 keeps all tokens.
            settings["top_k"] = max(0, settings["top_k"])
        return cls(**settings)
