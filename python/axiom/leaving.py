"""The end of the program, while daemon threads of it compute.

A thread that is inside of the extension then stays there (`axiom._native.leave`). What Python runs at the end and this
package had no part in should find that as late as possible: the last handlers to run are those that were registered
first, so this is imported with the package.
"""

from __future__ import annotations

import atexit
import sys

__all__ = ["is_leaving"]

_is_leaving = False


def is_leaving() -> bool:
    """Whether the program ends, so that threads inside of the extension may never come back."""
    return _is_leaving


def _leave() -> None:
    global _is_leaving
    _is_leaving = True
    native = sys.modules.get("axiom._native")
    if native is not None:
        native.leave()


atexit.register(_leave)
