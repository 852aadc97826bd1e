"""The tensors of a model's file as engines take them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.model_config import TensorSpec
from axiom.model_file.model_file import ModelFile
from axiom.model_file.open_file import FileBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TensorArray", "TensorSource", "tensor_array", "tensor_source", "unchanged"]

TensorArray = tuple[str, str, int, int, "npt.NDArray[np.uint8]"]
"""Name, name of the `TensorFormat`, rows, columns, and the bytes as a read-only uint8 array."""

TensorSource = TensorArray | tuple[str, str, int, int, FileBytes]
"""The same, or with the place in a file where the bytes are."""


def tensor_source(model: ModelFile, spec: TensorSpec) -> TensorSource:
    """Return a tensor as the native engine takes it: read by the engine itself where a GGUF has it as it is wanted."""
    if isinstance(model, GGUFFile) and _is_as_wanted(spec):
        return spec.name, spec.format.name, spec.rows, spec.cols, model.tensor_place(spec.name)
    return tensor_array(model, spec)


def tensor_array(model: ModelFile, spec: TensorSpec) -> TensorArray:
    """Read a tensor into memory as engines want it: a vector in f32, a matrix as the GGUF has it."""
    stored = model.tensor_data(spec.name)
    if _is_as_wanted(spec):
        return spec.name, spec.format.name, spec.rows, spec.cols, stored
    if spec.format is TensorFormat.F16:
        wide = stored.view("<f2").astype("<f4")
    else:
        wide = (stored.view("<u2").astype("<u4") << 16).view("<f4")
    return spec.name, TensorFormat.F32.name, spec.rows, spec.cols, wide.view("u1")


@contextlib.contextmanager
def unchanged(model: ModelFile) -> Iterator[None]:
    """Have the weights that are read in a block be those of the file that was opened.

    Raises `ModelFormatError` where it was written to meanwhile, also in place of what a read raised on that account.
    The weights of an image are known by their digests.
    """
    try:
        yield
    except OSError:
        _check_unchanged(model)
        raise
    _check_unchanged(model)


def _check_unchanged(model: ModelFile) -> None:
    if isinstance(model, GGUFFile):
        model.check_unchanged()


def _is_as_wanted(spec: TensorSpec) -> bool:
    return not spec.is_vector or spec.format is TensorFormat.F32
