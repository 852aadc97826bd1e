"""The tensors of a model's file as engines take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axiom.gguf_types import TensorFormat
from axiom.model_config import TensorSpec
from axiom.model_file import ModelFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TensorSource", "tensor_source"]

TensorSource = tuple[str, str, int, int, "npt.NDArray[np.uint8]"]
"""Name, name of the `TensorFormat`, rows, columns, and the bytes as a read-only uint8 array."""


def tensor_source(model: ModelFile, spec: TensorSpec) -> TensorSource:
    """Return a tensor as engines take it: a vector in f32, a matrix as the GGUF has it."""
    stored = model.tensor_data(spec.name)
    if not spec.is_vector or spec.format is TensorFormat.F32:
        return spec.name, spec.format.name, spec.rows, spec.cols, stored
    if spec.format is TensorFormat.F16:
        wide = stored.view("<f2").astype("<f4")
    else:
        wide = (stored.view("<u2").astype("<u4") << 16).view("<f4")
    return spec.name, TensorFormat.F32.name, spec.rows, spec.cols, wide.view("u1")
