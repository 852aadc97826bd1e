"""The oracle: llama.cpp's logits for a GGUF, and the exact-weights twin that shows how far rounding alone moves them.

llama.cpp quantises activations as axiom does, though to other block sizes and half-float scales. Neither is the truth.
The truth is llama.cpp in F32 throughout on a copy of the model whose weights were dequantised to F32. With it, "agrees
up to rounding" becomes a claim that can fail: axiom must be about as near to the truth as llama.cpp is.
"""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

# The bodies of axiom compute the same bits, so one is compared; AXIOM_TEST_BACKEND=reference asks for the other.
BACKEND = os.environ.get("AXIOM_TEST_BACKEND", "native")
F32, F16 = 0, 1


def llama_logits(
    path: Path, tokens: list[int], *, kv: str = "f16", flash_attn: bool = False, n_ctx: int = 512, n_threads: int = 2
) -> np.ndarray:
    """llama.cpp's logits `[n_tokens, n_vocab]` (float32) of one sequence, evaluated in one batch."""
    import llama_cpp

    kv_type = {"f16": F16, "f32": F32}[kv]
    llama = llama_cpp.Llama(
        str(path),
        n_ctx=n_ctx,
        n_batch=n_ctx,
        n_ubatch=n_ctx,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        logits_all=True,
        flash_attn=flash_attn,
        type_k=kv_type,
        type_v=kv_type,
        **_yarn_settings(path),
        verbose=False,
    )
    try:
        llama.eval(tokens)
        return np.array(llama.scores[: len(tokens)], dtype=np.float32)
    finally:
        llama.close()


def _yarn_settings(path: Path) -> dict[str, float]:
    """The model's own YaRN keys as llama.cpp's context settings, which negative leaves alone.

    llama.cpp reads these keys in a few architectures only, and the Python package overrides them in all.
    """
    fields = gguf.GGUFReader(path).fields
    prefix = f"{fields['general.architecture'].contents()}.rope.scaling."
    settings = {}
    for key in ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"):
        settings[key] = float(fields[prefix + key].contents()) if prefix + key in fields else -1.0
    return settings


def write_float_twin(path: Path, twin: Path) -> Path:
    """Writes a copy of a one-file model with every tensor dequantised to F32 by gguf.quants."""
    reader = gguf.GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(twin, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub_type)
    for tensor in reader.tensors:
        shape = [int(n) for n in reversed(tensor.shape)]
        if tensor.tensor_type == Type.F32:
            weights = np.array(tensor.data, dtype=np.float32)
        elif tensor.tensor_type == Type.F16:
            weights = tensor.data.astype(np.float32)
        else:
            weights = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(weights.reshape(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return twin


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each row of `a` with the same row of `b`, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.sum(a * b, axis=-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def rms(a: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(a, dtype=np.float64))))


def top_margin(logits: np.ndarray) -> np.ndarray:
    """How far the best logit of each row is above the second best."""
    best_two = np.partition(logits, -2, axis=-1)[:, -2:]
    return best_two[:, 1] - best_two[:, 0]


def mean_log_likelihood(logits: np.ndarray, tokens: list[int]) -> float:
    """Mean log-probability of tokens[1:], each predicted by the row before it: minus the log of the perplexity."""
    rows = logits[:-1].astype(np.float64)
    rows = rows - rows.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(rows, np.array(tokens[1:])[:, None], axis=-1)[:, 0]
    return float(np.mean(chosen - np.log(np.exp(rows).sum(axis=-1))))
