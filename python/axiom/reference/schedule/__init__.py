"""Who does what when."""

from axiom.reference.schedule.layer_lock import LayerLock

__all__ = ["LayerLock"]
