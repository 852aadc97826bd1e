"""The bodies that tests of the Python layer run on."""

from __future__ import annotations

import importlib.util

import pytest

BACKENDS = [
    "reference",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("axiom._native") is None,
            reason="the extension is not built; `make test` builds it",
        ),
    ),
]
