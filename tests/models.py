"""GGUF models with random weights: any architecture, format and size that axiom runs.

The weights of a matrix have a standard deviation of 1/sqrt(inputs), so activations keep the size they have in trained
models, and the output matrix is a few times larger, so logits spread and greedy choices have margins. A tensor's
content depends on the seed, its name, shape and format alone.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from tests import vocabularies
from tests.blocks import random_tensor

ARCHITECTURES = ("llama", "qwen2", "qwen3")
# Logits get about this standard deviation.
LOGIT_SPREAD = 4.0
# Formats of 256-weight blocks and what converters use instead where rows are not a multiple of 256.
_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_MIXES = {"Q4_K_M": "Q4_K", "Q5_K_M": "Q5_K"}


SMALLEST = {"n_layer": 1, "n_embd": 32, "n_ff": 64, "n_head": 2, "n_head_kv": 1, "n_vocab": 300, "fmt": "Q8_0"}
"""For `write_random_model`, where the weights matter as little as they can."""

SMALL = {"n_layer": 2, "n_embd": 64, "n_ff": 96, "n_head": 4, "n_head_kv": 2, "n_vocab": 300, "fmt": "Q8_0"}
"""For `write_random_model`, where everything there is more than one of matters: layers, heads, groups of heads."""

TEXTUAL = SMALL | {"n_vocab": 400, "n_ctx": 96}
"""The same with words beside the bytes, and a context that a text fills."""

CHATML = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
"""A chat template for it."""

OFTEN = {"logit_bias": {token: 100.0 for token in (70, 71, 72)}, "ignore_eos": True}
"""For generations of such a model: few tokens to choose from, so that runs of them come again and are guessed."""


def tensor_format(fmt: str | Mapping[str, str], kind: str, layer: int, n_layer: int, n_cols: int, tied: bool) -> str:
    """The format of one matrix: `fmt` itself, its entry for `kind` (or "default"), or a mix's choice.

    The mixes Q4_K_M and Q5_K_M follow llama.cpp's: Q6_K for the output matrix and, in the first and last eighth of the
    layers and every third between, for attn_v and ffn_down.
    """
    if isinstance(fmt, Mapping):
        chosen = fmt.get(kind) or fmt.get("default")
        if chosen is None:
            raise ValueError(f"fmt names no format for {kind!r} and has no 'default'")
        return chosen
    if fmt not in _MIXES:
        return fmt
    eighth = n_layer // 8
    more_bits = layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2
    is_output = kind == "output" or (kind == "token_embd" and tied)
    chosen = "Q6_K" if is_output or (kind in ("attn_v", "ffn_down") and more_bits) else _MIXES[fmt]
    return chosen if n_cols % 256 == 0 else _FALLBACK[chosen]


def write_random_model(
    path: str | Path,
    *,
    arch: str = "llama",
    fmt: str | Mapping[str, str] = "Q4_0",
    n_layer: int = 2,
    n_embd: int = 256,
    n_head: int = 4,
    n_head_kv: int = 2,
    head_dim: int | None = None,
    n_ff: int = 512,
    n_vocab: int = 384,
    n_ctx: int = 512,
    tied: bool = False,
    biases: bool | None = None,
    rope_base: float = 10000.0,
    rope_scaling: str | Mapping[str, Any] | None = None,
    rope_freqs: bool = False,
    rms_eps: float = 1e-5,
    seed: int = 0,
    tokenizer: str = "spm",
    pre: str = "gpt-2",
    chat_template: str | None = None,
    split: int | None = None,
    unique_bytes: int | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model and returns the path to open (of the first part, if split).

    `fmt` is a format ("Q4_0"), a mix ("Q4_K_M", "Q5_K_M") or a mapping from tensor kind (token_embd, output, attn_q,
    attn_k, attn_v, attn_output, ffn_gate, ffn_up, ffn_down, default) to a format. Norms and biases are F32.
    `head_dim` None means n_embd / n_head and leaves the key out of the header, except in qwen3, which always has it.
    `biases` (of q, k and v) None means as the architecture has them: only qwen2.
    `rope_scaling` is "linear", "yarn" (factor 4 each) or the keys under `rope.scaling.` with their values.
    `rope_freqs` adds Llama 3's frequency factors. `tokenizer` is "spm", "bpe" (with `pre`) or "none".
    `split` asks for that many files. `unique_bytes` caps what is drawn per tensor; the rest repeats.
    `metadata` adds or replaces keys: str, bool, int (u32), float (f32) or a list.
    """
    if arch not in ARCHITECTURES:
        raise ValueError(f"arch={arch!r}; one of {', '.join(ARCHITECTURES)}")
    if head_dim is None and n_embd % n_head:
        raise ValueError(f"n_embd={n_embd} is not a multiple of n_head={n_head}; give head_dim")
    explicit_head_dim = head_dim is not None or arch == "qwen3"
    head_dim = head_dim or n_embd // n_head
    biases = arch == "qwen2" if biases is None else biases
    path = Path(path)

    tensors: list[tuple[str, str, tuple[int, ...], float]] = []  # name, format, shape [rows, cols] or [n], std

    def matrix(name: str, kind: str, n_out: int, n_in: int, layer: int = 0, std: float | None = None) -> None:
        chosen = tensor_format(fmt, kind, layer, n_layer, n_in, tied)
        tensors.append((f"{name}.weight", chosen, (n_out, n_in), std or 1 / math.sqrt(n_in)))

    def vector(name: str, n: int, std: float) -> None:
        tensors.append((name, "F32", (n,), std))

    output_std = LOGIT_SPREAD / math.sqrt(n_embd)
    matrix("token_embd", "token_embd", n_vocab, n_embd, std=output_std if tied else 1.0)
    if rope_freqs:
        vector("rope_freqs.weight", head_dim // 2, 0.0)
    for i in range(n_layer):
        blk = f"blk.{i}"
        vector(f"{blk}.attn_norm.weight", n_embd, 0.1)
        for part, n_out in (("q", n_head * head_dim), ("k", n_head_kv * head_dim), ("v", n_head_kv * head_dim)):
            matrix(f"{blk}.attn_{part}", f"attn_{part}", n_out, n_embd, i)
            if biases:
                vector(f"{blk}.attn_{part}.bias", n_out, 0.3)
        if arch == "qwen3":
            vector(f"{blk}.attn_q_norm.weight", head_dim, 0.1)
            vector(f"{blk}.attn_k_norm.weight", head_dim, 0.1)
        matrix(f"{blk}.attn_output", "attn_output", n_embd, n_head * head_dim, i)
        vector(f"{blk}.ffn_norm.weight", n_embd, 0.1)
        matrix(f"{blk}.ffn_gate", "ffn_gate", n_ff, n_embd, i)
        matrix(f"{blk}.ffn_up", "ffn_up", n_ff, n_embd, i)
        matrix(f"{blk}.ffn_down", "ffn_down", n_embd, n_ff, i)
    vector("output_norm.weight", n_embd, 0.1)
    if not tied:
        matrix("output", "output", n_vocab, n_embd, std=output_std)

    writer = gguf.GGUFWriter(path, arch, split_max_tensors=-(-len(tensors) // split) if split else 0)
    writer.add_name(path.stem)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head_kv)
    writer.add_layer_norm_rms_eps(rms_eps)
    writer.add_rope_freq_base(rope_base)
    writer.add_vocab_size(n_vocab)
    if explicit_head_dim:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if arch == "llama":
        writer.add_rope_dimension_count(head_dim)
    for key, value in _rope_scaling_keys(rope_scaling, n_ctx).items():
        _add_key(writer, f"{arch}.rope.scaling.{key}", value)
    if tokenizer == "spm":
        vocabularies.add_spm(writer, n_vocab, seed)
    elif tokenizer == "bpe":
        vocabularies.add_bpe(writer, n_vocab, seed, pre)
    elif tokenizer == "none":
        writer.add_tokenizer_model("none")
    else:
        raise ValueError(f"tokenizer={tokenizer!r}; one of spm, bpe, none")
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for key, value in (metadata or {}).items():
        _add_key(writer, key, value)

    for name, chosen, shape, _ in tensors:
        n_weights, n_bytes = gguf.GGML_QUANT_SIZES[Type[chosen]]
        if shape[-1] % n_weights:
            raise ValueError(f"{name}: {chosen} rows come in blocks of {n_weights} weights, {shape[-1]} is no multiple")
        size = math.prod(shape) // n_weights * n_bytes
        writer.add_tensor_info(name, shape, np.dtype(np.float32), size, raw_dtype=Type[chosen])
    parts = writer.format_shard_names(path)
    if split is not None and len(parts) != split:
        raise ValueError(f"{len(tensors)} tensors do not split into {split} files of equal count, but {len(parts)}")
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, chosen, shape, std in tensors:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if name == "rope_freqs.weight":
            content = _llama3_rope_freqs(head_dim, rope_base, n_ctx)
        elif len(shape) == 1:
            centre = 0.0 if name.endswith(".bias") else 1.0
            content = (centre + std * rng.standard_normal(shape)).astype("<f4")
        else:
            content = random_tensor(chosen, *shape, rng, std, unique_bytes)
        writer.write_tensor_data(content)
    writer.close()
    return parts[0]


def _rope_scaling_keys(rope_scaling: str | Mapping[str, Any] | None, n_ctx: int) -> Mapping[str, Any]:
    if rope_scaling is None:
        return {}
    if rope_scaling == "linear":
        return {"type": "linear", "factor": 4.0}
    if rope_scaling == "yarn":
        return {"type": "yarn", "factor": 4.0, "original_context_length": n_ctx // 4}
    if isinstance(rope_scaling, str):
        raise ValueError(f"rope_scaling={rope_scaling!r}; linear, yarn or a mapping of keys")
    return rope_scaling


def _add_key(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    writer.kv_data[0].pop(key, None)
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _llama3_rope_freqs(head_dim: int, base: float, n_ctx: int, factor: float = 8.0) -> np.ndarray:
    """Llama 3's divisors of the rotation angles: 1 for short waves, `factor` for long ones, a ramp between.

    From the published scaling rule (low_freq_factor 1, high_freq_factor 4), for an original context of n_ctx / 4.
    """
    wavelength = 2 * np.pi * base ** (np.arange(0, head_dim, 2) / head_dim)
    ramp = np.clip((n_ctx / 4 / wavelength - 1) / (4 - 1), 0, 1)
    return (1 / ((1 - ramp) / factor + ramp)).astype("<f4")
