"""Axiom's logits beside llama.cpp's, for every architecture and format, on models with random weights.

Three claims per model. The logits point the same way: cosine over 0.999 in every row. The greedy token is the same
wherever llama.cpp's margin is wider than its own rounding can close. And axiom is about as near to the exact weights'
logits as llama.cpp is, or nearer: see `oracle`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.engine_options import EngineOptions
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from tests.blocks import FORMATS
from tests.models import ARCHITECTURES
from tests.peers.oracle import BACKEND, cosines, llama_logits, mean_log_likelihood, rms, top_margin, write_float_twin

SHAPE: dict[str, Any] = {"n_layer": 2, "n_embd": 256, "n_head": 8, "n_head_kv": 2, "n_ff": 512, "n_vocab": 384}
MIXES = ("Q4_K_M", "Q5_K_M")
# What a model may have beyond its format; each is run in a format that rounds little, so that a wrong angle or a
# dropped bias has nothing to hide behind.
VARIANTS: dict[str, dict[str, Any]] = {
    "linear scaling": {"rope_scaling": "linear"},
    "yarn": {"rope_scaling": "yarn"},
    "yarn, qwen2": {"arch": "qwen2", "rope_scaling": "yarn"},
    "yarn, other settings": {
        "rope_base": 500000.0,
        "rope_scaling": {
            "type": "yarn",
            "factor": 8.0,
            "original_context_length": 64,
            "attn_factor": 1.25,
            "yarn_beta_fast": 16.0,
            "yarn_beta_slow": 2.0,
        },
    },
    "yarn, half extrapolated": {
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "original_context_length": 128,
            "yarn_ext_factor": 0.5,
        },
    },
    "rope_freqs": {"rope_freqs": True, "rope_base": 500000.0},
    "rope base": {"arch": "qwen3", "rope_base": 1000000.0},
    "biases in llama": {"biases": True},
    "tied": {"tied": True},
    "tied, qwen3": {"arch": "qwen3", "tied": True},
    "as many key heads": {"n_head_kv": 8},
    "one key head": {"n_head_kv": 1},
    "narrow heads": {"head_dim": 16},
    "wide heads": {"arch": "qwen3", "head_dim": 128},
    "odd number of heads": {"n_head": 5, "n_head_kv": 5, "head_dim": 32},
    "odd sizes": {"fmt": "F16", "n_embd": 250, "n_head": 5, "n_head_kv": 1, "head_dim": 50, "n_ff": 333},
    "odd vocabulary": {"n_vocab": 301},
    "large epsilon": {"rms_eps": 1e-2},
    "byte-level vocabulary": {"tokenizer": "bpe"},
}


def tokens_for(n_tokens: int, n_vocab: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(5).integers(3, n_vocab, n_tokens)]


def axiom_logits(path: Path, tokens: list[int], kv: str = "f16", n_ctx: int = 512) -> np.ndarray:
    """Axiom's logits `[n_tokens, n_vocab]` of one sequence, appended in one pass."""
    gguf = GGUFFile(path)
    options = EngineOptions(n_ctx=n_ctx, threads=2, kv=kv)
    engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), options, BACKEND)
    try:
        return np.asarray(engine.forward([engine.seq_new()], [tokens], logits="all"))
    finally:
        engine.close()


@pytest.fixture(scope="session")
def compare(random_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`compare(n_tokens=..., kv=..., **model)`: (tokens, axiom's, llama.cpp's, the exact weights' logits)."""
    folder = tmp_path_factory.mktemp("twins")

    @cache
    def truth_of(key: str, path: Path, n_tokens: int, n_vocab: int) -> np.ndarray:
        twin = write_float_twin(path, folder / "twin.gguf")
        return llama_logits(twin, tokens_for(n_tokens, n_vocab), kv="f32")

    def run(n_tokens: int = 96, kv: str = "f16", **model: Any) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
        settings = {**SHAPE, **model}
        path = random_model(**settings)
        tokens = tokens_for(n_tokens, settings["n_vocab"])
        truth = truth_of(repr(settings), path, n_tokens, settings["n_vocab"])
        return tokens, axiom_logits(path, tokens, kv), llama_logits(path, tokens, kv=kv), truth

    return run


def check(ours: np.ndarray, theirs: np.ndarray, truth: np.ndarray) -> None:
    assert ours.shape == theirs.shape == truth.shape
    worst_cosine = float(cosines(ours, theirs).min())
    assert worst_cosine > 0.999
    # Rounding differences of two independent engines are alike in size, not in value. The floor is float32's own.
    our_rounding, their_rounding = rms(ours - truth), rms(theirs - truth)
    assert our_rounding <= 1.25 * their_rounding + 1e-5 * rms(truth)
    clear = top_margin(theirs) > 2 * float(np.abs(theirs - truth).max())
    share_clear = float(clear.mean())
    assert share_clear > 0.2, "too few clear choices for the comparison to mean anything"
    differing = np.flatnonzero(ours.argmax(axis=-1) != theirs.argmax(axis=-1))
    assert not set(differing) & set(np.flatnonzero(clear))


@pytest.mark.parametrize("fmt", [*FORMATS, *MIXES])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_format_in_every_architecture(compare, arch, fmt):
    _, ours, theirs, truth = compare(arch=arch, fmt=fmt)
    check(ours, theirs, truth)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_of_a_model(compare, variant):
    _, ours, theirs, truth = compare(**{"fmt": "F16", **VARIANTS[variant]})
    check(ours, theirs, truth)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("kv", ["f16", "f32"])
def test_types_of_the_cache(compare, arch, kv):
    _, ours, theirs, truth = compare(arch=arch, fmt="F32", kv=kv)
    check(ours, theirs, truth)


def test_split_files(random_model):
    settings = {**SHAPE, "fmt": "Q8_0", "seed": 9}
    tokens = tokens_for(64, SHAPE["n_vocab"])
    whole, split = (axiom_logits(random_model(**settings, split=n), tokens) for n in (None, 3))
    assert np.array_equal(whole, split)
    assert cosines(split, llama_logits(random_model(**settings, split=3), tokens)).min() > 0.999


@pytest.mark.parametrize(("arch", "fmt"), [("llama", "Q4_0"), ("qwen2", "Q8_0"), ("qwen3", "Q4_K_M"), ("llama", "F16")])
def test_perplexity_over_a_long_text(compare, arch, fmt):
    tokens, ours, theirs, truth = compare(n_tokens=400, arch=arch, fmt=fmt, n_layer=4)
    check(ours, theirs, truth)
    likelihood = mean_log_likelihood(truth, tokens)
    assert mean_log_likelihood(ours, tokens) == pytest.approx(likelihood, rel=0.005)
