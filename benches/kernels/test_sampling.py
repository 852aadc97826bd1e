"""Choosing a token from the logits of a vocabulary, small and large, by the settings that people use.

The logits are like those of a model: a floor of unlikely tokens, and a few that stand above it. The time counts for
every token that is generated, on one thread, while the others wait.
"""

from __future__ import annotations

from typing import Any

import pytest

native: Any = pytest.importorskip("axiom._native", reason="the extension is not built")
numpy: Any = pytest.importorskip("numpy", reason="pip install numpy")
pytest.importorskip("pytest_benchmark", reason="pip install pytest-benchmark")

SETTINGS: dict[str, dict[str, float]] = {
    "greedy": {"temperature": 0.0},
    "plain": {},
    "temperature": {"temperature": 0.8},
    "top-p": {"top_p": 0.95},
    "top-k, top-p": {"temperature": 0.8, "top_k": 40, "top_p": 0.95},
    "min-p": {"min_p": 0.05},
    "typical": {"typical_p": 0.95},
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("n_vocab", [32_000, 151_936])
def test_one_token(benchmark: Any, n_vocab: int, name: str) -> None:
    random = numpy.random.default_rng(1)
    logits = random.normal(0.0, 2.0, n_vocab).astype(numpy.float32)
    logits[random.choice(n_vocab, 30, replace=False)] += numpy.linspace(12.0, 6.0, 30, dtype=numpy.float32)
    sampler = native.Sampler(n_vocab, seed=1, **SETTINGS[name])
    positions = iter(range(1 << 30))
    benchmark.pedantic(lambda: sampler.sample(logits, [], next(positions)), rounds=50, warmup_rounds=3)
    benchmark.extra_info.update({"us": round(benchmark.stats.stats.median * 1e6)})
