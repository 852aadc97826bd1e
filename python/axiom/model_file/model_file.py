"""A model on disk, in either of its forms: a GGUF, or an `.axiom` image packed from one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.image_file import MAGIC, ImageFile
from axiom.model_file.open_file import OpenFile

__all__ = ["ModelFile", "default_model_path", "is_image", "open_model"]

ModelFile: TypeAlias = GGUFFile | ImageFile


def open_model(path: str | os.PathLike[str] | None = None) -> ModelFile:
    """Open the model at `path`, or the one in the package, by what its first bytes say it is.

    Raises as `GGUFFile` and `ImageFile` do.
    """
    if path is None:
        path = default_model_path()
    return ImageFile(path) if is_image(path) else GGUFFile(path)


def is_image(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as an `.axiom` image does. Raises as `OpenFile`."""
    return OpenFile(path).head(len(MAGIC)) == MAGIC


def default_model_path() -> Path:
    """Return the path of the model that comes with the package."""
    folder = Path(__file__).parents[1] / "models"
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise FileNotFoundError(f"no model in {folder}: this installation lacks the default model; give a .gguf file")
    return found[0]
