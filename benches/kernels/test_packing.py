"""Packing of GGUF rows into panels by all workers, memory to memory: what loading a GGUF does besides reading it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from axiom.model_file.gguf_types import TensorFormat
from benches.kernels.test_products import FORMATS, N_COL, native

N_BYTES = 128 << 20


@pytest.mark.parametrize("fmt", FORMATS)
def test_packing(benchmark: Any, fmt: str) -> None:
    row_bytes = TensorFormat[fmt].row_bytes(N_COL)
    n_rows = N_BYTES // row_bytes // 16 * 16
    rows = np.random.default_rng(0).integers(0, 256, n_rows * row_bytes, dtype=np.uint8)
    panels = np.empty(n_rows * row_bytes, dtype=np.uint8)
    benchmark.pedantic(native.pack_matrix, (("matrix", fmt, n_rows, N_COL, rows), panels), rounds=5, warmup_rounds=1)
    benchmark.extra_info["GB/s"] = round(rows.size / benchmark.stats.stats.median / 1e9, 2)
