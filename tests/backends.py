"""The bodies that tests of the Python layer run on."""

from __future__ import annotations

import importlib.util

import pytest

from axiom.bare.kernel import BareError, kernel_file
from axiom.bare.qemu import find_qemu


def why_not_bare() -> str:
    """What the bare body lacks here, or nothing."""
    try:
        find_qemu()
        kernel_file()
    except BareError as error:
        return str(error)
    return ""


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

ENGINES = [*BACKENDS, pytest.param("bare", marks=pytest.mark.skipif(bool(why_not_bare()), reason=why_not_bare()))]
"""For tests that compute with a model: the bare body too, which has no tokenizers and samplers of its own."""
