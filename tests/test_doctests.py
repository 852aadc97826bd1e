"""The examples in docstrings say what is so."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import axiom

MODULES = [
    info.name for info in pkgutil.walk_packages(axiom.__path__, "axiom.") if not info.name.startswith("axiom._native")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(import_module(name))
    assert failed == 0
