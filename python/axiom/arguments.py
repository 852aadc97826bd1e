"""Arguments as callers give them: the right type under its name, or an error that says which one and what came."""

from __future__ import annotations

import numbers
import operator
from typing import Any

__all__ = ["flag", "function", "integer", "number"]


def integer(name: str, value: Any) -> int:
    """Return an integer, of Python or of numpy, as Python's."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None


def number(name: str, value: Any) -> int | float:
    """Return a number, of Python or of numpy, as Python's."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    return float(value)


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
