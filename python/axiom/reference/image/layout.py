"""Where every tensor of a model lies in an image: the twin of `model/layout.rs`.

The weights are a row of extents, each on 4 KiB boundaries: the embedding, one for each layer, and the output. Within an
extent tensors lie at multiples of 64 bytes: matrices in panels, vectors in f32, each bias after its matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from axiom.errors import ModelFormatError
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.model_config import ModelConfig, TensorSpec

EXTENT_ALIGN = 4096
_TENSOR_ALIGN = 64
_LANES, _BLOCK = 16, 32


@dataclass(frozen=True)
class TensorAt:
    """A tensor and its place."""

    spec: TensorSpec
    extent: int
    offset: int
    n_bytes: int
    """Bytes that it takes there."""


@dataclass(frozen=True)
class Layout:
    """Bytes of each extent, and every tensor in the order of its bytes."""

    extents: tuple[int, ...]
    tensors: tuple[TensorAt, ...]


def packed_bytes(spec: TensorSpec) -> int:
    """Bytes of a tensor in an image: a vector in f32, a matrix in panels of 16 rows."""
    if spec.is_vector:
        return 4 * spec.cols
    plain = spec.format in (TensorFormat.F32, TensorFormat.F16, TensorFormat.BF16)
    cols = _rounded(spec.cols, _BLOCK) if plain else spec.cols
    return spec.format.row_bytes(cols) * _rounded(spec.rows, _LANES)


def model_layout(config: ModelConfig, specs: Sequence[TensorSpec]) -> Layout:
    """Lays out the tensors of a model. Raises ModelFormatError for one that has no place."""
    left = {spec.name: spec for spec in specs}
    extents: list[int] = []
    tensors: list[TensorAt] = []
    for names in _extent_names(config):
        used = 0
        for name in names:
            spec = left.pop(name, None)
            if spec is not None:
                offset = _rounded(used, _TENSOR_ALIGN)
                tensors.append(TensorAt(spec, len(extents), offset, packed_bytes(spec)))
                used = offset + packed_bytes(spec)
        extents.append(_rounded(used, EXTENT_ALIGN))
    if left:
        raise ModelFormatError(
            f"{next(iter(left))}: the model has a tensor that would be ignored; use a model without it"
        )
    return Layout(tuple(extents), tuple(tensors))


def _extent_names(config: ModelConfig) -> list[list[str]]:
    """The tensors that each extent may have, in order."""

    def matrix(name: str) -> list[str]:
        return [f"{name}.weight", f"{name}.bias"]

    layers = []
    for blk in (f"blk.{layer}" for layer in range(config.n_layer)):
        layers.append(
            [
                f"{blk}.attn_norm.weight",
                *matrix(f"{blk}.attn_q"),
                *matrix(f"{blk}.attn_k"),
                *matrix(f"{blk}.attn_v"),
                f"{blk}.attn_q_norm.weight",
                f"{blk}.attn_k_norm.weight",
                *matrix(f"{blk}.attn_output"),
                f"{blk}.ffn_norm.weight",
                *matrix(f"{blk}.ffn_gate"),
                *matrix(f"{blk}.ffn_up"),
                *matrix(f"{blk}.ffn_down"),
            ]
        )
    return [matrix("token_embd"), *layers, ["output_norm.weight", *matrix("output"), "rope_freqs.weight"]]


def _rounded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
