"""Arguments as callers give them: the right type under its name, or an error that says which one and what came."""

from __future__ import annotations

import numbers
import operator
from typing import Any

__all__ = ["BYTES", "flag", "function", "integer", "number"]

BYTES = bytes | bytearray | memoryview
"""What is a sequence of numbers to Python, and no list of tokens: a text that nobody has decoded."""

# No float holds these, and so no engine; what is computed with a number of any length may fail under no name.
_BEYOND = 1 << 1024


def integer(name: str, value: Any) -> int:
    """Return an integer, of Python or of numpy, as Python's."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if not -_BEYOND < found < _BEYOND:
        raise _beyond(name)
    return found


def number(name: str, value: Any) -> int | float:
    """Return a number, of Python or of numpy, as Python's."""
    if isinstance(value, bool) or not isinstance(value, int | float | numbers.Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if isinstance(value, float):
        return value
    try:
        found = float(value)
    except OverflowError:
        raise _beyond(name) from None
    return value if isinstance(value, int) else found


def _beyond(name: str) -> ValueError:
    # Not with the number: Python refuses to write out the longest.
    return ValueError(f"{name}: expected a number that a float can hold, up to 1.8e308, got one beyond that")


def flag(name: str, value: Any) -> bool:
    """Return True or False. Nothing else is taken for one: the text "no" would be true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return value


def function(name: str, value: Any) -> Any:
    """Return what can be called, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}: expected a function or None, got {value!r}")
    return value
