"""What the identity tests share: a model in any body, and equality to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.engine_options import EngineOptions
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine

_native: Any = pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
# The kernel tables that this processor runs, best first.
TABLES: list[str] = _native.testing.kernels.tables()
# All of this architecture, so that those which were not compared are seen in the report.
ALL_TABLES = [
    pytest.param(
        table["name"],
        marks=pytest.mark.skipif(
            bool(table["missing"]), reason=f"the processor lacks {', '.join(table['missing'])} for this kernel table"
        ),
    )
    for table in _native.info()["kernels"]["tables"]
]


def open_body(path: Path, backend: str, **kwargs: Any) -> Any:
    gguf = GGUFFile(path)
    options = {"n_ctx": 320, "n_seq_max": 5} | kwargs
    return open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(**options), backend)[0]


def assert_same(got: list[np.ndarray], expected: list[np.ndarray], where: str) -> None:
    for step, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        a, b = (np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1) for x in (a, b))
        rows = np.flatnonzero((a != b).any(axis=1))
        assert not len(rows), f"{where}, step {step}: {len(rows)} of {len(a)} rows differ, the first is {rows[0]}"
