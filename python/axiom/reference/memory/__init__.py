"""What an engine holds: the key-value cache, and the machines that say what each piece of memory is in use for."""

from .activation_pool import ActivationPool
from .kv_cache import POSITIONS_PER_SLAB, KVCachePool, Slab
from .weight_pool import WeightPool

__all__ = ["POSITIONS_PER_SLAB", "ActivationPool", "KVCachePool", "Slab", "WeightPool"]
