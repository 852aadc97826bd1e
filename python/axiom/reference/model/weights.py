"""The weights of a model: matrices that stay in their file format, and vectors in f32.

`n_q` is n_head * head_dim, `n_kv` is n_head_kv * head_dim. A matrix is [outputs, inputs]: a row makes one output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from axiom.errors import ModelFormatError
from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic.activation import Activations
from axiom.reference.format import format_named
from axiom.reference.format.scales import DecodedRows

Tensor = tuple[str, str, int, int, np.ndarray]  # name, format, rows, cols, bytes


class Matrix:
    """A weight matrix [rows, cols] in the bytes of its format, decoded when it is first multiplied."""

    def __init__(self, name: str, format_name: str, rows: int, cols: int, stored: np.ndarray) -> None:
        self.name, self.rows, self.cols = name, rows, cols
        self.format = format_named(format_name)
        n_expected = rows * self.format.row_bytes(cols)
        if stored.nbytes != n_expected:
            raise ModelFormatError(
                f"{name}: {rows} rows of {cols} {format_name} weights take {n_expected} bytes, got {stored.nbytes}; "
                "the file is damaged: convert or download it again"
            )
        self.stored = np.array(stored, np.uint8).reshape(rows, -1)
        self.bias: np.ndarray | None = None  # f32 [rows]

    @cached_property
    def decoded(self) -> DecodedRows:
        """All rows as integers and scales."""
        return self.format.decode(self.format.blocks(self.stored, self.cols))

    def product(self, x: Activations) -> np.ndarray:
        """Section 4: one output for each row, f32 [n_tokens, rows]; the bias comes after the last block."""
        out = self.decoded.product(x)
        return out if self.bias is None else out + self.bias

    def values_of_rows(self, row_ids: np.ndarray) -> np.ndarray:
        """Some rows as f32 [n, cols], as an embedding reads them."""
        return self.format.decode(self.format.blocks(self.stored[row_ids], self.cols)).values()


@dataclass
class LayerWeights:
    """One layer. Biases belong to their matrices."""

    attn_norm: np.ndarray  # [n_embd]
    attn_q: Matrix  # [n_q, n_embd]
    attn_k: Matrix  # [n_kv, n_embd]
    attn_v: Matrix  # [n_kv, n_embd]
    attn_q_norm: np.ndarray | None  # [head_dim], qwen3
    attn_k_norm: np.ndarray | None  # [head_dim], qwen3
    attn_output: Matrix  # [n_embd, n_q]
    ffn_norm: np.ndarray  # [n_embd]
    ffn_gate: Matrix  # [n_ff, n_embd]
    ffn_up: Matrix  # [n_ff, n_embd]
    ffn_down: Matrix  # [n_embd, n_ff]


@dataclass
class Weights:
    """The whole model."""

    token_embd: Matrix  # [n_vocab, n_embd]
    layers: list[LayerWeights]
    output_norm: np.ndarray  # [n_embd]
    output: Matrix  # [n_vocab, n_embd], the same as token_embd where the file has none of its own
    rope_freqs: np.ndarray | None  # [rope_dim / 2]


class _TensorList:
    """Gives out tensors by name and shape, each once."""

    def __init__(self, tensors: Iterable[Tensor], progress: Callable[[int, int], None] | None) -> None:
        tensors = list(tensors)
        n_done, n_total = 0, sum(stored.nbytes for *_, stored in tensors)
        self.left: dict[str, Matrix] = {}
        for tensor in tensors:
            taken = Matrix(*tensor)
            self.left[taken.name] = taken
            n_done += taken.stored.nbytes
            if progress is not None:
                progress(n_done, n_total)

    def vector(self, name: str, n: int) -> np.ndarray:
        return self._take(name, 1, n).values_of_rows(np.array([0]))[0]

    def optional_vector(self, name: str, n: int) -> np.ndarray | None:
        return self.vector(name, n) if name in self.left else None

    def matrix(self, name: str, rows: int, cols: int) -> Matrix:
        taken = self._take(f"{name}.weight", rows, cols)
        taken.bias = self.optional_vector(f"{name}.bias", rows)
        return taken

    def _take(self, name: str, rows: int, cols: int) -> Matrix:
        taken = self.left.pop(name, None)
        if taken is None or (taken.rows, taken.cols) != (rows, cols):
            got = "no such tensor" if taken is None else f"[{taken.rows}, {taken.cols}]"
            raise ModelFormatError(f"{name}: expected shape [{rows}, {cols}], got {got}; convert the model again")
        return taken


def load_weights(
    config: ModelConfig, tensors: Iterable[Tensor], progress: Callable[[int, int], None] | None = None
) -> Weights:
    """Takes the tensors of a model by name. Raises ModelFormatError for one that is missing, misshapen or left over."""
    n_q, n_kv = config.n_head * config.head_dim, config.n_head_kv * config.head_dim
    n_embd, n_ff, n_vocab = config.n_embd, config.n_ff, config.n_vocab
    take = _TensorList(tensors, progress)

    token_embd = take.matrix("token_embd", n_vocab, n_embd)
    layers = []
    for blk in (f"blk.{layer}" for layer in range(config.n_layer)):
        layers.append(
            LayerWeights(
                attn_norm=take.vector(f"{blk}.attn_norm.weight", n_embd),
                attn_q=take.matrix(f"{blk}.attn_q", n_q, n_embd),
                attn_k=take.matrix(f"{blk}.attn_k", n_kv, n_embd),
                attn_v=take.matrix(f"{blk}.attn_v", n_kv, n_embd),
                attn_q_norm=take.vector(f"{blk}.attn_q_norm.weight", config.head_dim) if config.qk_norm else None,
                attn_k_norm=take.vector(f"{blk}.attn_k_norm.weight", config.head_dim) if config.qk_norm else None,
                attn_output=take.matrix(f"{blk}.attn_output", n_embd, n_q),
                ffn_norm=take.vector(f"{blk}.ffn_norm.weight", n_embd),
                ffn_gate=take.matrix(f"{blk}.ffn_gate", n_ff, n_embd),
                ffn_up=take.matrix(f"{blk}.ffn_up", n_ff, n_embd),
                ffn_down=take.matrix(f"{blk}.ffn_down", n_embd, n_ff),
            )
        )
    output_norm = take.vector("output_norm.weight", n_embd)
    if config.tied_output:
        output = token_embd
        output.bias = take.optional_vector("output.bias", n_vocab)
    else:
        output = take.matrix("output", n_vocab, n_embd)
    rope_freqs = take.vector("rope_freqs.weight", config.rope_dim // 2) if config.has_rope_freqs else None
    if take.left:
        raise ModelFormatError(
            f"{next(iter(take.left))}: expected only tensors that a {config.architecture} model has, got one that "
            "would be ignored; use a model without it"
        )
    return Weights(token_embd, layers, output_norm, output, rope_freqs)
