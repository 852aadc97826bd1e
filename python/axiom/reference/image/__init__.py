"""The `.axiom` image in numpy (docs/image.md): its digests, and the layout of its extents."""

from axiom.reference.image.blake3 import blake3
from axiom.reference.image.layout import EXTENT_ALIGN, Layout, TensorAt, model_layout

__all__ = ["EXTENT_ALIGN", "Layout", "TensorAt", "blake3", "model_layout"]
