"""Who does what when."""

from .layer_lock import LayerLock

__all__ = ["LayerLock"]
