"""The `.axiom` image in numpy (docs/image.md): its digests, the layout of its extents, and what its head must say."""

from axiom.reference.image.blake3 import blake3
from axiom.reference.image.head import check_layout
from axiom.reference.image.layout import EXTENT_ALIGN, Layout, TensorAt, model_layout

__all__ = ["EXTENT_ALIGN", "Layout", "TensorAt", "blake3", "check_layout", "model_layout"]
