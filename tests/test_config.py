"""The model configuration: what is read, what is refused, and the plan of how much fits in memory."""

# ruff: noqa: E501 - tables of cases, one on a line

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.capacity import plan_capacity
from axiom.engine_options import EngineOptions
from axiom.errors import ContextLengthError, MemoryBudgetError, ModelFormatError, UnsupportedModelError
from axiom.hardware import CpuBudget, MemoryBudget, cpu_budget, memory_budget
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from tests.models import write_random_model

SMALL = {"n_layer": 1, "n_embd": 64, "n_ff": 96, "n_head": 4, "n_head_kv": 2, "fmt": "Q8_0", "n_vocab": 300}


def config_of(path: Path) -> ModelConfig:
    return ModelConfig.from_gguf(GGUFFile(path))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(**kwargs: Any) -> Path:
        return write_random_model(tmp_path / "model.gguf", **{**SMALL, **kwargs})

    return written


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
def test_what_is_read(write: Callable[..., Path], arch: str) -> None:
    config = config_of(write(arch=arch, n_layer=3, rope_base=5e5, rms_eps=1e-6))
    assert config.as_dict() == {
        "architecture": arch, "n_vocab": 300, "n_ctx_train": 512, "n_embd": 64, "n_layer": 3, "n_ff": 96, "n_head": 4,
        "n_head_kv": 2, "head_dim": 16, "rope_dim": 16, "rope_base": 5e5,
        "rope_pairing": "norm" if arch == "llama" else "neox", "rope_scaling": "none", "rope_factor": 1.0,
        "rope_original_ctx": 512, "rope_attn_factor": 1.0, "rope_beta_fast": 32.0, "rope_beta_slow": 1.0,
        "rope_ext_factor": 0.0, "has_rope_freqs": False, "rms_eps": float(np.float32(1e-6)), "tied_output": False,
        "qk_norm": arch == "qwen3", "sliding_window": None,
    }  # fmt: skip
    assert config.kv_bytes_per_position("f16") == 2 * 3 * 2 * 16 * 2
    assert config.kv_bytes_per_position("f32") == 2 * config.kv_bytes_per_position("f16")
    assert config.n_ctx_max == 512
    with pytest.raises(AttributeError, match="n_embd: it cannot be changed"):
        config.n_embd = 1  # type: ignore[misc]


def test_tensors_come_in_layer_order_with_their_shapes(write: Callable[..., Path]) -> None:
    path = write(arch="qwen3", n_layer=2, head_dim=24, biases=True)
    config = config_of(path)
    names = [spec.name for spec in config.tensors]
    layer = [
        "attn_norm.weight",
        "attn_q.weight",
        "attn_q.bias",
        "attn_q_norm.weight",
        "attn_k.weight",
        "attn_k.bias",
        "attn_k_norm.weight",
        "attn_v.weight",
        "attn_v.bias",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ]
    layers = [f"blk.{i}.{name}" for i in range(2) for name in layer]
    assert names == ["token_embd.weight", *layers, "output_norm.weight", "output.weight"]
    shapes = {spec.name: (spec.rows, spec.cols, spec.is_vector) for spec in config.tensors}
    assert shapes["token_embd.weight"] == (300, 64, False)
    assert shapes["blk.0.attn_q.weight"] == (96, 64, False)
    assert shapes["blk.0.attn_k.weight"] == (48, 64, False)
    assert shapes["blk.0.attn_output.weight"] == (64, 96, False)
    assert shapes["blk.0.ffn_down.weight"] == (64, 96, False)
    assert shapes["blk.0.attn_q_norm.weight"] == (1, 24, True)
    assert shapes["blk.0.attn_q.bias"] == (1, 96, True)
    file = GGUFFile(path)
    assert config.weight_bytes == sum(info.n_bytes for info in file.tensors.values())
    assert config.n_weights == sum(info.n_weights for info in file.tensors.values())


def test_tied_output(write: Callable[..., Path]) -> None:
    config = config_of(write(tied=True))
    assert config.tied_output
    assert "output.weight" not in [spec.name for spec in config.tensors]


def test_rope_scaling(write: Callable[..., Path]) -> None:
    linear = config_of(write(rope_scaling="linear"))
    assert (linear.rope_scaling, linear.rope_factor) == ("linear", 4.0)
    yarn = config_of(write(rope_scaling="yarn"))
    assert (yarn.rope_scaling, yarn.rope_factor, yarn.rope_original_ctx, yarn.rope_ext_factor) == (
        "yarn",
        4.0,
        128,
        1.0,
    )
    keys = {"type": "yarn", "factor": 2.0, "attn_factor": 0.5, "yarn_beta_fast": 16.0, "yarn_beta_slow": 2.0}
    own = config_of(write(rope_scaling=keys))
    assert (own.rope_attn_factor, own.rope_beta_fast, own.rope_beta_slow, own.rope_original_ctx) == (
        0.5,
        16.0,
        2.0,
        512,
    )
    none = config_of(write(rope_scaling={"type": "none", "factor": 4.0}))
    assert (none.rope_scaling, none.rope_factor) == ("none", 1.0)
    old = config_of(write(metadata={"llama.rope.scale_linear": 8.0}))
    assert (old.rope_scaling, old.rope_factor) == ("linear", 8.0)
    untyped = config_of(write(rope_scaling={"factor": 2.0}))
    assert (untyped.rope_scaling, untyped.rope_factor) == ("linear", 2.0)
    freqs = config_of(write(rope_freqs=True))
    assert freqs.has_rope_freqs
    assert freqs.tensors[-1].name == "rope_freqs.weight"


def test_one_number_for_each_layer(write: Callable[..., Path]) -> None:
    config = config_of(write(n_layer=3, metadata={"llama.attention.head_count_kv": [2, 2, 2]}))
    assert config.n_head_kv == 2


def test_neutral_and_harmless_keys_are_taken(write: Callable[..., Path]) -> None:
    config_of(
        write(
            metadata={
                "llama.expert_count": 0, "llama.logit_scale": 1.0, "llama.attention.causal": True,
                "llama.attention.scale": 0.25, "llama.rope.scaling.finetuned": True, "llama.tensor_data_layout": "x",
                "llama.attention.sliding_window": 512, "general.anything": 1, "other.attention.scale": 9.0,
            }
        )
    )  # fmt: skip


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "head count": ({"llama.attention.head_count": 0}, "llama.attention.head_count: expected a number from 1 .* got 0"),
    "kv heads": ({"llama.attention.head_count_kv": 3}, "expected a divisor of the 4 heads, got 3"),
    "layers": ({"llama.block_count": 2}, r"tensor 'blk.1.attn_norm.weight': expected shape \[64\], got no such tensor"),
    "many layers": ({"llama.block_count": 1 << 20}, "llama.block_count: expected a number from 1 to 65536"),
    "width": ({"llama.embedding_length": 128, "llama.rope.dimension_count": 32}, r"tensor 'token_embd.weight' .* expected shape \[300, 128\], got \[300, 64\]"),
    "feed-forward": ({"llama.feed_forward_length": 32}, r"'blk.0.ffn_gate.weight' .* expected shape \[32, 64\]"),
    "kind": ({"llama.block_count": "1"}, "llama.block_count: expected an integer, got str '1'"),
    "bool": ({"llama.block_count": True}, "llama.block_count: expected an integer, got bool True"),
    "float": ({"llama.block_count": 1.0}, "expected an integer, got float 1.0"),
    "eps": ({"llama.attention.layer_norm_rms_epsilon": 0.0}, "expected a finite number above 0, got 0.0"),
    "eps not finite": ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "expected a finite number above 0, got nan"),
    "base": ({"llama.rope.freq_base": -1.0}, "llama.rope.freq_base: expected a finite number above 0"),
    "factor": ({"llama.rope.scaling.factor": float("inf")}, "llama.rope.scaling.factor"),
    "odd head": ({"llama.attention.key_length": 15}, "expected an even number"),
    "layer list": ({"llama.attention.head_count_kv": [2, 2]}, "expected one number or 1 of them, got 2 numbers"),
    "architecture kind": ({"general.architecture": 3}, "general.architecture: expected a string"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_contradictions_are_format_errors(write: Callable[..., Path], name: str) -> None:
    metadata, message = MALFORMED[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        config_of(write(metadata=metadata))
    assert str(caught.value).startswith("model.gguf: ")


UNSUPPORTED: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"metadata": {"general.architecture": "gpt2"}}, "expected one of llama, qwen2, qwen3, got 'gpt2'"),
    "experts": ({"metadata": {"llama.expert_count": 8}}, "llama.expert_count: expected 0, got 8"),
    "softcap": ({"metadata": {"llama.final_logit_softcapping": 30.0}}, "final_logit_softcapping: expected 0.0, got 30.0"),
    "scale": ({"metadata": {"llama.attention.scale": 0.5}}, r"attention.scale: expected 1 / sqrt\(16\), got 0.5"),
    "unknown key": ({"metadata": {"llama.frobnication": 1}}, "llama.frobnication: expected no such key, got 1"),
    "array": ({"metadata": {"llama.frobnication": [1, 2]}}, r"expected no such key, got 2 items, \[1, 2\]; the"),
    "not causal": ({"metadata": {"llama.attention.causal": False}}, "expected True, got False"),
    "longrope": ({"rope_scaling": {"type": "longrope"}}, "expected none, linear or yarn, got 'longrope'"),
    "attn_factor": ({"rope_scaling": {"type": "linear", "factor": 2.0, "attn_factor": 2.0}}, "1.0 without yarn"),
    "partial rotary": ({"metadata": {"llama.rope.dimension_count": 8}}, "dimension_count: expected 16"),
    "value length": ({"head_dim": 16, "metadata": {"llama.attention.value_length": 8}}, "value_length: expected 16"),
    "layers apart": (
        {"n_layer": 2, "metadata": {"llama.attention.head_count_kv": [2, 1]}},
        r"expected the same number in every layer, got \[1, 2\]",
    ),
    "format": ({}, "tensor 'blk.0.ffn_up.weight': .* got IQ4_NL"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_computed_is_refused(write: Callable[..., Path], name: str) -> None:
    kwargs, message = UNSUPPORTED[name]
    path = write(**kwargs)
    if name == "format":
        _say_format(path, "blk.0.ffn_up.weight", old=8, new=20)
    with pytest.raises(UnsupportedModelError, match=message):
        config_of(path)


def _say_format(path: Path, name: str, old: int, new: int) -> None:
    """Say in the directory that a matrix has another format of no more bytes."""
    content = bytearray(path.read_bytes())
    at = content.index(name.encode()) + len(name) + 4 + 2 * 8
    assert struct.unpack_from("<I", content, at) == (old,)
    struct.pack_into("<I", content, at, new)
    path.write_bytes(content)


def test_a_missing_key_is_named(write: Callable[..., Path]) -> None:
    path = write()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"llama.context_length", b"other.context_length"))
    with pytest.raises(ModelFormatError, match=r"llama.context_length: expected an integer, got no such key"):
        config_of(path)


def test_an_unknown_tensor_is_refused_and_a_redundant_one_is_not(write: Callable[..., Path]) -> None:
    path = write(biases=True)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"blk.0.attn_q.bias", b"blk.0.attn_q.zzzz"))
    with pytest.raises(UnsupportedModelError, match=r"tensor 'blk.0.attn_q.zzzz': expected only the tensors"):
        config_of(path)
    path.write_bytes(content.replace(b"\x11\0\0\0\0\0\0\0blk.0.attn_q.bias", b"\x11\0\0\0\0\0\0\0blk.9.attn_q.bias"))
    with pytest.raises(UnsupportedModelError, match=r"tensor 'blk.9.attn_q.bias'"):
        config_of(path)


def test_a_vocabulary_that_disagrees_with_the_embedding_is_refused(write: Callable[..., Path]) -> None:
    path = write(metadata={"tokenizer.ggml.tokens": ["a"] * 7})
    with pytest.raises(ModelFormatError, match=r"tensor 'token_embd.weight' .* expected shape \[7, 64\]"):
        config_of(path)


def test_a_vocabulary_only_file_says_what_it_is_for(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with pytest.raises(ModelFormatError, match=r"a vocabulary-only file serves axiom.Tokenizer alone"):
        config_of(tmp_path / "v.gguf")


# Capacity


@pytest.fixture
def config(write: Callable[..., Path]) -> ModelConfig:
    return config_of(write())


WORK = 64 << 20


def test_default_context_is_the_models_own(config: ModelConfig) -> None:
    plan = plan_capacity(config, n_ctx=None, kv="f16")
    assert (plan.n_ctx, plan.bounded_by, plan.usable_bytes) == (512, "model", None)
    assert plan.kv_bytes_per_sequence == 512 * 128


def test_default_context_is_bounded_by_memory(config: ModelConfig) -> None:
    plan = plan_capacity(config, n_ctx=None, kv="f16", usable_bytes=config.weight_bytes + WORK + 300 * 128)
    assert (plan.n_ctx, plan.n_seq_max, plan.bounded_by) == (300, 1, "memory")


def test_a_context_too_small_to_be_of_use_is_an_error(config: ModelConfig) -> None:
    enough = config.weight_bytes + WORK + 256 * 128
    assert plan_capacity(config, n_ctx=None, kv="f16", usable_bytes=enough).n_ctx == 256
    with pytest.raises(MemoryBudgetError, match=r"1 x 256 positions need .* use n_ctx=255 or less"):
        plan_capacity(config, n_ctx=None, kv="f16", usable_bytes=enough - 1)
    assert plan_capacity(config, n_ctx=255, kv="f16", usable_bytes=enough - 1).n_ctx == 255


def test_an_explicit_context_is_kept_or_refused_with_numbers(config: ModelConfig) -> None:
    usable = config.weight_bytes + WORK + 100 * 128
    assert plan_capacity(config, n_ctx=100, kv="f16", usable_bytes=usable).bounded_by == "request"
    with pytest.raises(
        MemoryBudgetError, match=r"1 x 101 positions need 64\.\d MiB .* but 64\.\d MiB .* use n_ctx=100 or less"
    ):
        plan_capacity(config, n_ctx=101, kv="f16", usable_bytes=usable)
    with pytest.raises(MemoryBudgetError, match="use n_ctx=50 or less"):
        plan_capacity(config, n_ctx=100, kv="f32", usable_bytes=usable)
    with pytest.raises(MemoryBudgetError, match="or fewer than n_seq_max=2 sequences"):
        plan_capacity(config, n_ctx=100, kv="f16", n_seq_max=2, usable_bytes=usable)
    with pytest.raises(MemoryBudgetError, match="use a smaller model"):
        plan_capacity(config, n_ctx=1, kv="f16", usable_bytes=1000)


def test_a_context_beyond_the_models_is_refused(config: ModelConfig) -> None:
    with pytest.raises(ContextLengthError, match="n_ctx=513, but the model has 512 positions that it was trained for"):
        plan_capacity(config, n_ctx=513, kv="f16")


def test_a_sliding_window_bounds_the_context(write: Callable[..., Path]) -> None:
    config = config_of(write(metadata={"llama.attention.sliding_window": 128}))
    assert config.sliding_window == 128
    plan = plan_capacity(config, n_ctx=None, kv="f16")
    assert (plan.n_ctx, plan.bounded_by) == (128, "sliding window")
    with pytest.raises(ContextLengthError, match="n_ctx=129, but the model has 128 positions"):
        plan_capacity(config, n_ctx=129, kv="f16")


def test_sequences_take_half_of_what_is_left(config: ModelConfig) -> None:
    usable = config.weight_bytes + WORK + 8 * 512 * 128
    assert plan_capacity(config, n_ctx=None, kv="f16", usable_bytes=usable).n_seq_max == 4
    assert plan_capacity(config, n_ctx=None, kv="f16", usable_bytes=1 << 40).n_seq_max == 16
    assert plan_capacity(config, n_ctx=None, kv="f16", n_seq_max=3, usable_bytes=usable).n_seq_max == 3


@pytest.mark.parametrize("name", ["n_ctx", "n_seq_max"])
def test_absurd_numbers_are_value_errors(config: ModelConfig, name: str) -> None:
    kwargs = {"n_ctx": None, name: 0}
    with pytest.raises(ValueError, match=name):
        plan_capacity(config, kv="f16", **kwargs)


def test_opening_an_engine_checks_its_arguments(write: Callable[..., Path]) -> None:
    file = GGUFFile(write())
    config = ModelConfig.from_gguf(file)
    for kwargs, name in (({"kv": "q8"}, "kv"), ({"threads": 0}, "threads")):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            EngineOptions(**kwargs)
    with pytest.raises(ValueError, match="backend: expected"):
        open_engine(file, config, EngineOptions(), "gpu")


def test_vectors_in_16_bits_are_widened(tmp_path: Path) -> None:
    from axiom.model_file.gguf_types import TensorFormat
    from axiom.model_file.model_config import TensorSpec
    from axiom.model_file.tensor_source import tensor_source

    values = np.array([1.5, -2.25, 0.0, 3.0], dtype="<f4")

    class File:
        def tensor_data(self, name: str) -> np.ndarray:
            half = values.astype("<f2").view(np.uint8)
            brain = (values.view("<u4") >> 16).astype("<u2").view(np.uint8)
            return {"f16": half, "bf16": brain, "f32": values.view(np.uint8)}[name]

    for name, format_ in (("f16", TensorFormat.F16), ("bf16", TensorFormat.BF16), ("f32", TensorFormat.F32)):
        spec = TensorSpec(name, format_, 1, 4, is_vector=True)
        assert tensor_source(File(), spec)[:4] == (name, "F32", 1, 4)  # type: ignore[arg-type]
        assert np.array_equal(tensor_source(File(), spec)[4].view("<f4"), values)  # type: ignore[arg-type]


# Hardware


def test_threads_follow_cores_and_quota() -> None:
    assert CpuBudget(8, 4, None).n_threads == 4
    assert CpuBudget(8, 4, 2.9).n_threads == 2
    assert CpuBudget(8, 4, 0.5).n_threads == 1
    assert CpuBudget(8, 4, 16.0).n_threads == 4


def test_memory_is_the_smaller_bound() -> None:
    assert MemoryBudget(10, None).usable_bytes == 10
    assert MemoryBudget(10, 5).usable_bytes == 5
    assert MemoryBudget(None, None).usable_bytes is None


def test_both_bodies_count_the_same_processors() -> None:
    native = pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    theirs, ours = native.default_threads(), cpu_budget()
    assert (theirs["n_affinity"], theirs["n_cores"], theirs["n_threads"]) == (
        ours.n_affinity,
        ours.n_cores,
        ours.n_threads,
    )
    assert theirs["quota"] == ours.quota


def test_this_machine_has_a_processor_and_memory() -> None:
    assert 1 <= cpu_budget().n_threads <= cpu_budget().n_affinity
    usable = memory_budget().usable_bytes
    assert usable is None or usable > 0
