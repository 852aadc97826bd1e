"""Programs for the state machines: run by the core, and what their twins are asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from axiom.errors import AxiomError
from axiom.reference.memory import WeightPool

needs_extension = pytest.mark.skipif(
    importlib.util.find_spec("axiom._native") is None, reason="the extension is not built; `make test` builds it"
)

Step = tuple[str, int, int]
Answers = list[tuple[str, str]]
PROGRAMS = settings(max_examples=2000, deadline=None)


def native(machine: str, sizes: list[int], program: list[Step]) -> Answers:
    from axiom._native import testing

    answers: Answers = testing.run_machine(machine, sizes, program)
    return answers


def said(call: Callable[[], Any]) -> str:
    """What a request is answered, an error in its own words."""
    try:
        answer = call()
    except (AxiomError, OSError, RuntimeError, ValueError) as error:
        return str(error)
    return "done" if answer is None else str(answer)


def slot_states(pool: WeightPool) -> str:
    states = [pool.state(slot) for slot in range(len(pool.slots))]
    return ", ".join(" ".join(str(part) for part in state if part is not None) for state in states)
