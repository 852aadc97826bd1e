"""Every batch size and any shape of model: the native engine gives the bits of the reference."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.blocks import FORMATS
from tests.identity import ALL_TABLES, TABLES, assert_same, open_body
from tests.models import write_random_model


def prompt(n: int, n_vocab: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, n_vocab, n).tolist()


@pytest.mark.parametrize("table", ALL_TABLES)
@pytest.mark.parametrize("fmt", ["Q4_0", "Q8_0", "Q4_K_M", "F16"])
def test_every_batch_size(random_model: Callable[..., Path], fmt: str, table: str) -> None:
    """1 to 65 sequences decoded together: across every tile width and row group at which the code changes path."""
    path = random_model(fmt=fmt, n_layer=1, n_head=8, n_head_kv=2, head_dim=32, n_vocab=291)
    prompts = [prompt(1 + i % 3, 291, i) for i in range(65)]
    reference = open_body(path, "reference", n_seq_max=65)
    alone = [reference.forward([reference.seq_new()], [tokens])[0] for tokens in prompts]
    engine = open_body(path, "native", kernels=table, threads=2, n_seq_max=65)
    for n in range(1, 66):
        seqs = [engine.seq_new() for _ in range(n)]
        assert_same(
            [np.asarray(engine.forward(seqs, prompts[:n]))], [np.stack(alone[:n])], f"{fmt} on {table}, {n} together"
        )
        for seq in seqs:
            engine.seq_free(seq)
    engine.close()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_shape(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    fmt = data.draw(st.sampled_from(FORMATS))
    block = 1 if fmt in ("F32", "F16", "BF16") else 256 if fmt.endswith("_K") else 32
    n_head_kv = data.draw(st.integers(1, 3))
    n_head = n_head_kv * data.draw(st.integers(1, 4))
    # The columns of attn_output, n_head x head_dim, are whole blocks; rotations need an even head_dim.
    step = block // gcd(block, n_head)
    head_dim = step * (1 if step % 2 == 0 else 2) * data.draw(st.integers(1, 20 if block == 1 else 1))
    shape: dict[str, Any] = {
        "arch": data.draw(st.sampled_from(["llama", "qwen2", "qwen3"])),
        "fmt": fmt,
        "n_layer": data.draw(st.integers(1, 3)),
        "n_embd": block * data.draw(st.integers(1, 90 if block == 1 else 3)),
        "n_head": n_head,
        "n_head_kv": n_head_kv,
        "head_dim": head_dim,
        "n_ff": block * data.draw(st.integers(1, 120 if block == 1 else 3)),
        "n_vocab": data.draw(st.integers(260, 330)),
        "tied": data.draw(st.booleans()),
        "seed": data.draw(st.integers(0, 2**20)),
    }
    path = write_random_model(tmp_path_factory.mktemp("shape") / "model.gguf", **shape)
    tokens = prompt(data.draw(st.integers(1, 140)), shape["n_vocab"], shape["seed"])
    kv = data.draw(st.sampled_from(["f16", "f32"]))
    reference = open_body(path, "reference", kv=kv)
    expected = reference.forward([reference.seq_new()], [tokens], "all")

    cut = data.draw(st.integers(0, len(tokens)))
    table, threads = data.draw(st.sampled_from(TABLES)), data.draw(st.integers(1, 3))
    engine = open_body(path, "native", kernels=table, threads=threads, kv=kv)
    seq = engine.seq_new()
    rows = [np.asarray(engine.forward([seq], [part], "all")) for part in (tokens[:cut], tokens[cut:]) if part]
    assert_same([np.concatenate(rows)], [expected], f"{shape} on {table}, {threads} threads, cut at {cut}")
    engine.close()
