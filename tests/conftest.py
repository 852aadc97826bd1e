"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import axiom
from axiom.runtime import Runtime
from tests import images
from tests.backends import ENGINES
from tests.models import CHATML, TEXTUAL, write_random_model

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


@pytest.fixture(scope="module")
def packed(random_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> images.Packed:
    """`packed(fmt=..., ...)`: a random GGUF, and its image."""
    folder = tmp_path_factory.mktemp("images")
    made: dict[Path, Path] = {}

    def get(native: bool = False, **kwargs: Any) -> tuple[Path, Path]:
        gguf = random_model(**{**images.SMALL, **kwargs})
        if gguf not in made:
            made[gguf] = axiom.pack(gguf, folder / f"{len(made)}.axiom", backend="native" if native else "reference")
        return gguf, made[gguf]

    return get


@pytest.fixture(scope="module", params=ENGINES)
def runtime(request: pytest.FixtureRequest, random_model: Callable[..., Path]) -> Iterator[Runtime]:
    """A small model that can chat, on every body. A file of tests that needs another has a fixture of that name."""
    path = random_model(**TEXTUAL, chat_template=CHATML)
    with axiom.Runtime(path, backend=request.param, n_seq_max=4, threads=1) as opened:
        yield opened


@pytest.fixture
def no_sequence_is_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests of a `runtime` that is not theirs alone."""
    yield
    if "runtime" in request.fixturenames:
        gc.collect()
        assert request.getfixturevalue("runtime").engine.n_open == 0
