"""The head of an image: whether its directory and its extents are those of its model."""

from __future__ import annotations

from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.image_file import ImageFile
from axiom.model_file.model_config import ModelConfig
from axiom.reference.image.layout import EXTENT_ALIGN, model_layout

__all__ = ["check_layout"]


def check_layout(image: ImageFile, config: ModelConfig) -> None:
    """Raise `ModelFormatError` unless tensors and extents of `image` lie where packing one of `config` puts them."""
    layout = model_layout(config, config.tensors)
    if len(image.tensors) != len(layout.tensors):
        raise image.wrong("directory", f"the {len(layout.tensors)} tensors of the model", len(image.tensors))
    for at in layout.tensors:
        name = at.spec.name
        if at.spec.is_vector and at.spec.format is not TensorFormat.F32:
            raise image.wrong(f"format of {name!r}", "F32, since it is a vector", at.spec.format.name)
        place = at.extent, at.offset, at.n_bytes
        if image.places[name] != place:
            raise image.wrong(f"place of {name!r}", _in_words(place), _in_words(image.places[name]))
    if len(image.extents) != len(layout.extents):
        raise image.wrong("table of extents", f"{len(layout.extents)} extents", len(image.extents))
    end = image.n_head
    for extent, (n_bytes, stored) in enumerate(zip(layout.extents, image.extents, strict=True)):
        if stored.n_bytes != n_bytes or stored.offset < end or stored.offset % EXTENT_ALIGN:
            room = f"{n_bytes} bytes at a multiple of {EXTENT_ALIGN} from {end}"
            raise image.wrong(f"extent {extent}", room, f"{stored.n_bytes} bytes at {stored.offset}")
        end = stored.offset + n_bytes


def _in_words(place: tuple[int, int, int]) -> str:
    extent, offset, n_bytes = place
    return f"{n_bytes} bytes at {offset} of extent {extent}"
