"""Whether the head of an image agrees with itself.

It says what the model is in two ways: by the GGUF's metadata, and by the configuration, the directory and the extents
that a packer made of them. An engine computes from the second; tokens, names and everything above an engine come from
the first. Two models in one file would give other bits in one body than in the other, so they are refused here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.image_file import ImageFile

if TYPE_CHECKING:
    from axiom.model_file.model_config import ModelConfig

__all__ = ["check_config", "check_layout", "config_fields"]

_PAIRINGS = ("norm", "neox")
_SCALINGS = ("none", "linear", "yarn")


def config_fields(config: ModelConfig) -> dict[str, int | float]:
    """Return the configuration in the order and in the numbers of the header (docs/image.md)."""
    return {
        "n_vocab": config.n_vocab,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_ff": config.n_ff,
        "n_head": config.n_head,
        "n_head_kv": config.n_head_kv,
        "head_dim": config.head_dim,
        "rope_dim": config.rope_dim,
        "rope_base": config.rope_base,
        "rope_pairing": _PAIRINGS.index(config.rope_pairing),
        "rope_scaling": _SCALINGS.index(config.rope_scaling),
        "rope_factor": config.rope_factor,
        "rope_original_ctx": config.rope_original_ctx,
        "rope_attn_factor": config.rope_attn_factor,
        "rope_beta_fast": config.rope_beta_fast,
        "rope_beta_slow": config.rope_beta_slow,
        "rope_ext_factor": config.rope_ext_factor,
        "rms_eps": config.rms_eps,
        "flags": config.tied_output | config.qk_norm << 1,
    }


def check_config(image: ImageFile, config: ModelConfig) -> None:
    """Raise `ModelFormatError` unless the configuration in the header of `image` is `config`, that of its metadata."""
    for (name, expected), got in zip(config_fields(config).items(), image.config_fields, strict=True):
        if expected != got:
            raise image.wrong(f"{name} of the configuration", f"{expected}, as the metadata say", got)


def check_layout(image: ImageFile, config: ModelConfig) -> None:
    """Raise `ModelFormatError` unless tensors and extents of `image` lie where packing a model of `config` puts them.

    The core does the same where it opens an image; this is for those that read tensors without it.
    """
    from axiom.reference.image import EXTENT_ALIGN, model_layout

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
