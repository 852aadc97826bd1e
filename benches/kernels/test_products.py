"""Products of panels with rows of activations: one row as decoding has it, more as prompts and batches have them.

With one row the weights come from memory, and the limit is the read bandwidth of a thread; with many rows they come
from the caches, and the limit is the processor's. `extra_info`, which --benchmark-json writes, holds GB/s and the share
of the bandwidth that was measured beside them, or GMAC/s (10^9 multiplications and additions per second).
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

native: Any = pytest.importorskip("axiom._native", reason="the extension is not built")
pytest.importorskip("pytest_benchmark", reason="pip install pytest-benchmark")

TABLES: list[str] = native.testing.kernels.tables()
FORMATS = ["Q4_0", "Q8_0", "Q4_K", "Q6_K", "Q4_1", "Q5_0", "Q5_1", "Q5_K", "Q2_K", "Q3_K", "F16", "BF16", "F32"]
N_COL = 2048
OUTGROWS_CACHES = 256 << 20


@functools.cache
def read_bandwidth() -> float:
    """Bytes per second of one thread."""
    return float(native.read_bandwidth(1))


def panels(table: str, fmt: str, n_bytes: int, n_token: int) -> Any:
    """As many panels as there are in `n_bytes`, at least four."""
    one = native.testing.Product(table, fmt, 1, N_COL, 1)
    return native.testing.Product(table, fmt, max(4, n_bytes // one.n_bytes), N_COL, n_token)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("table", TABLES[:1])
def test_one_row_from_memory(benchmark: Any, table: str, fmt: str) -> None:
    product = panels(table, fmt, OUTGROWS_CACHES, 1)
    benchmark.pedantic(product.run, rounds=7, warmup_rounds=1)
    rate = product.n_bytes / benchmark.stats.stats.median
    benchmark.extra_info.update(
        {"GB/s": round(rate / 1e9, 2), "of read bandwidth": f"{rate / read_bandwidth():.0%}", "bytes": product.n_bytes}
    )


@pytest.mark.parametrize("n_token", [8, 64, 256])
@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("table", [table for table in TABLES if table != "portable"])
def test_many_rows_from_the_caches(benchmark: Any, table: str, fmt: str, n_token: int) -> None:
    product = panels(table, fmt, 256 << 10, n_token)
    benchmark.pedantic(product.run, rounds=7, warmup_rounds=1)
    rate = product.n_product / benchmark.stats.stats.median
    benchmark.extra_info.update({"GMAC/s": round(rate / 1e9, 1), "rows": n_token})
