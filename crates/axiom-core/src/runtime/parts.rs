//! What an engine carves from its region: weights, cache, room for activations.

use super::Options;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::memory::{ActivationPool, KVCachePool, TensorRegion, Work};
use crate::model::{MemoryPlan, ModelLayout, WeightStore};

/// Bytes of the parts of an engine's region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionBytes {
    /// Weights in panels.
    pub weights: usize,
    /// Key-value slabs.
    pub kv: usize,
    /// Activations.
    pub activations: usize,
}

impl RegionBytes {
    /// All of it.
    pub fn total(&self) -> usize {
        self.weights + self.kv + self.activations
    }
}

/// What is carved from an engine's region.
pub struct Parts {
    /// Weights, or slots for them.
    pub store: WeightStore,
    /// Keys and values.
    pub cache: KVCachePool,
    /// The residual stream.
    pub activations: ActivationPool,
    /// What a layer computes in between.
    pub work: Work,
    /// How much each takes.
    pub bytes: RegionBytes,
}

impl Parts {
    /// Carves all of it, in this order.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(
        region: &mut TensorRegion,
        config: &ModelConfig,
        layout: &ModelLayout,
        plan: &MemoryPlan,
        options: &Options,
        n_worker: usize,
    ) -> Result<Parts, Error> {
        let store = WeightStore::carve(region, layout.clone(), plan.clone())?;
        let weights = region.used();
        let cache = KVCachePool::carve(region, config, options.n_ctx, options.n_seq_max, options.kv)?;
        let kv = region.used() - weights;
        let work = Work::carve(region, config, n_worker, options.rows_per_pass)?;
        let activations = ActivationPool::carve(region, options.rows_per_pass, work.embd_stride)?;
        let bytes = RegionBytes { weights, kv, activations: region.used() - weights - kv };
        Ok(Parts { store, cache, activations, work, bytes })
    }
}
