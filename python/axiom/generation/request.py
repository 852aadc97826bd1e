"""What a caller may ask of a generation, and the same after it has been checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from axiom.arguments import BYTES, flag, function, integer, number
from axiom.generation.sampling import Sampling
from axiom.generation.stopping import checked_stops
from axiom.record import Record

__all__ = ["GenerateOptions", "Request", "checked_request", "checked_tokens", "is_list"]


class GenerateOptions(TypedDict, total=False):
    """Keyword arguments of every call that generates.

    Settings of `Sampling` may be given one by one; they go over `sampling`, and that over what the model recommends.
    """

    max_tokens: int | None
    """Most tokens to choose; None goes on until the model ends or the context is full."""
    sampling: Sampling | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    repeat_last_n: int
    logit_bias: Mapping[int, float]
    seed: int | None
    timeout: float | None
    """Seconds after which to end, in the middle of a prompt too; the text is then what there was."""
    stop: str | Sequence[str] | None
    """Strings to stop before; they are not in the text."""
    stop_tokens: Collection[int] | None
    """Tokens to stop at; their text is not in the text."""
    ignore_eos: bool
    """Treat end-of-generation tokens as any other."""
    logprobs: int | None
    """Report log-probabilities, with this many alternatives (0 for none); None reports nothing."""
    receipt: bool
    """Return a receipt. The first one of a runtime reads the whole model once to name it by its digest."""
    on_progress: Callable[[int, int], None] | None
    """Called with (prompt tokens done, prompt tokens in all) as the prompt is computed."""


class Request(Record):
    """The checked options of one generation."""

    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    stop_tokens: frozenset[int]
    eog_tokens: frozenset[int]
    """Tokens that end the generation; none if they are to be ignored."""
    n_top_logprobs: int | None
    receipt: bool
    timeout: float | None

    def with_seed(self) -> Request:
        """Draw a seed if none was given: each generation has its own."""
        return self.replace(sampling=self.sampling.with_seed())


_SAMPLING_NAMES = frozenset(Sampling.field_names)


def checked_request(
    options: GenerateOptions, *, defaults: Sampling, eog_tokens: Collection[int], n_vocab: int
) -> Request:
    """Check `options` and fill in what is absent. Raises `TypeError` and `ValueError` that name the option."""
    known = GenerateOptions.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"no option {name!r}; the options are {', '.join(known)}")
    max_tokens = options.get("max_tokens")
    if max_tokens is not None and integer("max_tokens", max_tokens) < 1:
        raise ValueError(f"max_tokens: expected 1 or more, or None for no limit, got {max_tokens}")
    n_top = options.get("logprobs")
    if n_top is not None and not 0 <= integer("logprobs", n_top) <= n_vocab:
        raise ValueError(f"logprobs: expected a number from 0 to the vocabulary's {n_vocab}, or None, got {n_top}")
    stop_tokens = options.get("stop_tokens")
    function("on_progress", options.get("on_progress"))
    return Request(
        sampling=_sampling(options, defaults),
        max_tokens=max_tokens,
        stop=checked_stops(options.get("stop")),
        stop_tokens=frozenset(checked_tokens(() if stop_tokens is None else stop_tokens, n_vocab, "stop_tokens")),
        eog_tokens=frozenset() if flag("ignore_eos", options.get("ignore_eos", False)) else frozenset(eog_tokens),
        n_top_logprobs=n_top,
        receipt=flag("receipt", options.get("receipt", False)),
        timeout=_seconds("timeout", options.get("timeout")),
    )


def _sampling(options: GenerateOptions, defaults: Sampling) -> Sampling:
    sampling = options.get("sampling")
    if sampling is None:
        sampling = defaults
    elif not isinstance(sampling, Sampling):
        raise TypeError(f"sampling: expected an axiom.Sampling, got {type(sampling).__name__}")
    given = {name: value for name, value in options.items() if name in _SAMPLING_NAMES}
    return sampling.replace(**given)


def is_list(value: object) -> bool:
    """Whether `value` is a list of things: a sequence, or an array of numpy."""
    # A number of numpy has `__array__` too, and no length.
    return isinstance(value, Sequence) or (hasattr(value, "__array__") and hasattr(value, "__len__"))


def checked_tokens(tokens: Collection[Any], n_vocab: int, name: str) -> list[int]:
    """Return `tokens` as plain integers, all of them in the vocabulary."""
    if isinstance(tokens, str | BYTES) or not isinstance(tokens, Iterable):
        raise TypeError(f"{name}: expected a list of tokens, got {tokens!r}"[:200])
    checked = []
    for token in tokens:
        number = integer(name, token)
        if not 0 <= number < n_vocab:
            raise ValueError(f"{name}: expected tokens from 0 to {n_vocab - 1}, got {number}")
        checked.append(number)
    return checked


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    seconds = number(name, value)
    if not seconds > 0:
        raise ValueError(f"{name}: expected seconds above 0, or None for no limit, got {value}")
    return float(seconds)
