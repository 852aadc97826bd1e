"""The native engine gives the logits of the reference, bit for bit: formats, architectures, tables, thread counts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.blocks import FORMATS
from tests.identity import TABLES, assert_same, open_body

# Sizes that are no multiple of 16 or 32 wherever a format allows it.
ODD = {"n_layer": 2, "n_head": 6, "n_head_kv": 2, "n_vocab": 259, "head_dim": 20}
NARROW = {"n_embd": 96, "n_ff": 160} | ODD  # for blocks of 32
WIDE = {"n_embd": 256, "n_ff": 512} | ODD  # for blocks of 256: attn_output has 120 columns and falls back
PROMPT = [int(t) for t in np.random.default_rng(5).integers(0, 259, 300)]


def shape(fmt: str) -> dict[str, Any]:
    if fmt.endswith("_K"):
        return WIDE | {"fmt": {"default": fmt, "attn_output": "F16"}}
    if fmt in ("F32", "F16", "BF16"):
        return NARROW | {"n_embd": 90, "n_ff": 101, "fmt": fmt}
    return NARROW | {"fmt": {"default": fmt, "attn_output": "BF16"}}


def run(engine: Any) -> list[np.ndarray]:
    """A history that uses every call: a prompt, decoding, a batch, a fork, a rewind, saved state."""
    out = []
    a, b = engine.seq_new(), engine.seq_new()
    out.append(np.asarray(engine.forward([a], [PROMPT[:135]], "all")))
    for token in PROMPT[135:139]:
        out.append(np.asarray(engine.forward([a], [[token]])))
    out.append(np.asarray(engine.forward([b, a], [PROMPT[:3], PROMPT[139:150]], "last")))
    c = engine.seq_fork(a)
    out.append(np.asarray(engine.forward([c, b, a], [[1], PROMPT[3:20], [2, 3]], "all")))
    engine.seq_rewind(c, 120)
    out.append(np.asarray(engine.forward([c], [PROMPT[120:131]], "all")))
    state = engine.seq_save(c)
    out.append(np.frombuffer(state, np.uint8))
    out.append(np.asarray(engine.forward([engine.seq_load(state), b], [PROMPT[131:133], [5]])))
    return out


def check(path: Path, *, tables: list[str] = TABLES, threads: tuple[int, ...] = (1, 2, 3), kv: str = "f16") -> None:
    expected = run(open_body(path, "reference", kv=kv))
    assert all(x.std() > 0 for x in expected)
    for table in tables:
        for n in threads:
            engine = open_body(path, "native", kernels=table, threads=n, kv=kv)
            assert_same(run(engine), expected, f"{table}, {n} threads")
            engine.close()


@pytest.mark.parametrize("fmt", FORMATS)
def test_formats(random_model: Callable[..., Path], fmt: str) -> None:
    check(random_model(**shape(fmt)))


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("scaling", [None, "linear", "yarn", {"type": "yarn", "factor": 2.5, "attn_factor": 1.25}])
def test_architectures_and_rope_scaling(random_model: Callable[..., Path], arch: str, scaling: Any) -> None:
    path = random_model(**shape("Q5_0") | {"arch": arch, "rope_scaling": scaling, "tied": scaling == "linear"})
    check(path, tables=TABLES[:1], threads=(2,))


def test_frequency_factors(random_model: Callable[..., Path]) -> None:
    check(random_model(**shape("Q4_1") | {"rope_freqs": True, "rope_base": 500000.0}), tables=TABLES[:1], threads=(2,))


def test_cache_in_f32(random_model: Callable[..., Path]) -> None:
    check(random_model(**shape("Q8_0")), kv="f32", threads=(2,))


@pytest.mark.parametrize("mix", ["Q4_K_M", "Q5_K_M"])
def test_mixes(random_model: Callable[..., Path], mix: str) -> None:
    check(random_model(fmt=mix, n_layer=3, n_vocab=259), tables=TABLES[:1], threads=(2,))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 299), max_size=8, unique=True).map(sorted), table=st.sampled_from(TABLES))
def test_any_chunks(random_model: Callable[..., Path], cuts: list[int], table: str) -> None:
    path = random_model(**shape("Q4_0"))
    expected = whole_prompt(path)
    engine = open_body(path, "native", kernels=table, threads=2)
    seq, edges = engine.seq_new(), [0, *cuts, len(PROMPT)]
    parts = [np.asarray(engine.forward([seq], [PROMPT[a:b]], "all")) for a, b in pairwise(edges)]
    assert_same([np.concatenate(parts)], [expected], f"{table}, cuts {cuts}")


_WHOLE: dict[Path, np.ndarray] = {}


def whole_prompt(path: Path) -> np.ndarray:
    """The reference's logits of the whole prompt, computed once."""
    if path not in _WHOLE:
        engine = open_body(path, "reference")
        _WHOLE[path] = np.asarray(engine.forward([engine.seq_new()], [PROMPT], "all"))
    return _WHOLE[path]
