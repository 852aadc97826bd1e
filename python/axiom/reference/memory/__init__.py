"""What an engine holds: the key-value cache, and the machines that say what each piece of memory is in use for."""

from axiom.reference.memory.activation_pool import ActivationPool
from axiom.reference.memory.kv_cache import POSITIONS_PER_SLAB, KVCachePool, Slab
from axiom.reference.memory.weight_pool import WeightPool

__all__ = ["POSITIONS_PER_SLAB", "ActivationPool", "KVCachePool", "Slab", "WeightPool"]
