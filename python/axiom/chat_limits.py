"""How much a chat template may do and make: steps, seconds, and the sizes of its values.

A value of a template can name another one twice, and what is made of it a third time: forty steps of `[a, a]` are a few
kilobytes that have the text of a thousand billion. So the size that counts is that of a value written out. It is known
before anything prints, compares, hashes or encodes the value: a container is weighed when it is made, and it cannot
change afterwards, since the sandbox is immutable.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from axiom.errors import TemplateError

__all__ = [
    "MAX_CHARS",
    "MAX_ITEMS",
    "MAX_SECONDS",
    "MAX_STEPS",
    "Meter",
    "check_bits",
    "check_chars",
    "check_items",
    "joined",
]

# A prompt of a million tokens has some four million characters.
MAX_CHARS = 1 << 24
MAX_ITEMS = 1 << 20
MAX_STEPS = 1 << 17
MAX_SECONDS = 10.0
# Characters of all that one render makes, kept or not, an item counting as some.
_MAX_MADE = 1 << 28
_CHARS_PER_ITEM = 16
_MAX_INT_BITS = 1 << 12
# What the text of a number, or of anything else that holds no other values, is taken to have.
_CHARS_OF_OTHERS = 64


class Meter:
    """Counts what one render uses."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.reset()

    def reset(self) -> None:
        """Begin anew, and let go of what was weighed."""
        self._n_steps = 0
        self._n_made = 0
        self._deadline = time.monotonic() + MAX_SECONDS
        # By identity; the value is kept, so that no other takes its place.
        self._weights: dict[int, tuple[Any, int]] = {}

    def step(self) -> None:
        """Count a turn of a loop, or a call."""
        self._n_steps += 1
        if self._n_steps > MAX_STEPS:
            raise TemplateError(f"the chat template ran more than {MAX_STEPS} steps, and may loop without end")
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template ran longer than {MAX_SECONDS:g} s, and may loop without end")

    def made(self, value: Any) -> Any:
        """Count a value that was made, and return it."""
        if isinstance(value, str | bytes):
            check_chars(len(value))
            self._spend(len(value))
        elif isinstance(value, list | tuple | dict):
            check_items(len(value))
            self._spend(_CHARS_PER_ITEM * len(value))
            self._weigh(value)
        elif isinstance(value, int):
            check_bits(value.bit_length())
        return value

    def _spend(self, n: int) -> None:
        self._n_made += n
        if self._n_made > _MAX_MADE:
            raise TemplateError(f"the chat template makes more than {_MAX_MADE} characters on its way to a prompt")
        if time.monotonic() > self._deadline:
            raise TemplateError(f"the chat template ran longer than {MAX_SECONDS:g} s, and may loop without end")

    def _weigh(self, value: Any) -> int:
        """Return the characters of a value written out, about; what was weighed before is not gone through again."""
        if isinstance(value, str):
            return len(value) + 2
        if not isinstance(value, list | tuple | dict):
            return _CHARS_OF_OTHERS
        known = self._weights.get(id(value))
        if known is not None:
            return known[1]
        weight = 2
        for item in value:
            weight += self._weigh(item) + (self._weigh(value[item]) if isinstance(value, dict) else 0)
            check_chars(weight)
        self._weights[id(value)] = value, weight
        return weight


def check_chars(n: int) -> None:
    """Refuse a text of `n` characters that is too long."""
    if n > MAX_CHARS:
        raise TemplateError(f"the chat template makes a text of {n} characters, over the limit of {MAX_CHARS}")


def joined(texts: Iterable[str], between: str = "") -> str:
    """Join texts that come one after another, and refuse them as soon as they are too long together."""
    parts: list[str] = []
    n_chars = 0
    for text in texts:
        parts.append(text)
        n_chars += len(between) + len(text)
        check_chars(n_chars)
    return between.join(parts)


def check_items(n: int) -> None:
    """Refuse a list of `n` items that is too long."""
    if n > MAX_ITEMS:
        raise TemplateError(f"the chat template makes a list of {n} items, over the limit of {MAX_ITEMS}")


def check_bits(n: int) -> None:
    """Refuse a number of `n` bits that is too long."""
    if n > _MAX_INT_BITS:
        raise TemplateError(f"the chat template makes a number of {n} bits, over the limit of {_MAX_INT_BITS}")
