"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models import write_random_model

# The comparisons with other engines run in an environment of their own, which has those engines.
HAS_PEERS = importlib.util.find_spec("llama_cpp") is not None
collect_ignore = [] if HAS_PEERS else ["peers"]


def pytest_report_header() -> list[str]:
    return [] if HAS_PEERS else ["tests/peers: left out, llama_cpp is not installed here; `make test-peers` runs them"]


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`random_model(arch=..., fmt=..., ...)`: the path of such a model, written once per session."""
    folder = tmp_path_factory.mktemp("models")
    written: dict[str, Path] = {}

    def get(**kwargs: Any) -> Path:
        key = repr(sorted(kwargs.items()))
        if key not in written:
            written[key] = write_random_model(folder / f"model-{len(written)}.gguf", **kwargs)
        return written[key]

    return get
