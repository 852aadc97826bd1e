"""Fixtures of the comparisons with other engines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.peers.environment import LLAMA_SOURCE


@pytest.fixture(scope="session")
def llama_source() -> Path:
    """The unpacked source package of llama-cpp-python, for the vocabularies in it.

    AXIOM_LLAMA_SOURCE names one that lies elsewhere.
    """
    folder = Path(os.environ.get("AXIOM_LLAMA_SOURCE") or LLAMA_SOURCE)
    assert (folder / "vendor" / "llama.cpp" / "models").is_dir(), f"{folder} is not there; `make test-peers` fetches it"
    return folder
