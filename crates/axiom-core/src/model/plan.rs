//! `MemoryPlan`: which extents stay in memory, and how much room the others land in.
//!
//! The set is chosen once. A pass is a cyclic scan, which defeats any cache that keeps what was used last; a fixed set saves
//! its own size in every pass, and the streamed share is the model less what is pinned. The head comes first, because it is
//! read whole for every token; then layers, spread evenly, so that between two that are computed from memory there is time
//! to load one that is not. The embedding comes last: of it a pass needs a row for each token.

use super::layout::ModelLayout;
use crate::error::Error;
use alloc::vec;
use alloc::vec::Vec;

/// Landing slots: one to compute from, one to load into.
const N_LANDING: usize = 2;

/// What is pinned, and the room for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// For each extent, whether it stays in memory.
    pub is_pinned: Vec<bool>,
    /// Slots that other layers are read into.
    pub n_landing: usize,
    /// Bytes of each.
    pub bytes_landing: usize,
}

impl MemoryPlan {
    /// Everything is pinned.
    pub fn resident(layout: &ModelLayout) -> MemoryPlan {
        MemoryPlan { is_pinned: vec![true; layout.extents.len()], n_landing: 0, bytes_landing: 0 }
    }

    /// The most that fits in `budget` bytes of weights.
    ///
    /// # Errors
    ///
    /// [`Error::Budget`] if the head and the landing slots alone do not.
    pub fn fit(layout: &ModelLayout, budget: usize) -> Result<MemoryPlan, Error> {
        if layout.bytes() <= budget {
            return Ok(MemoryPlan::resident(layout));
        }
        let mut plan = MemoryPlan::smallest(layout);
        let floor = plan.bytes(layout);
        if floor > budget {
            return Err(Error::Budget { floor, budget });
        }
        // As many layers as fit, evenly spread; fewer, should an uneven model make the spread ones larger than the first. Where
        // all fit, nothing lands, and what is read is rows of the embedding.
        let n_layer = layout.layer_extents().len();
        let landing = (plan.n_landing, plan.bytes_landing);
        for n_pinned in (0..=n_layer).rev() {
            (plan.n_landing, plan.bytes_landing) = if n_pinned == n_layer { (0, 0) } else { landing };
            for i in 0..n_layer {
                plan.is_pinned[1 + i] = (i + 1) * n_pinned / n_layer > i * n_pinned / n_layer;
            }
            if plan.bytes(layout) <= budget {
                break;
            }
        }
        Ok(plan)
    }

    /// The head and the landing slots alone, and the embedding where it is the head's.
    pub fn smallest(layout: &ModelLayout) -> MemoryPlan {
        let layers = &layout.extents[layout.layer_extents()];
        let mut is_pinned = vec![false; layout.extents.len()];
        is_pinned[layout.output_extent()] = true;
        is_pinned[ModelLayout::EMBEDDING] = layout.output.head.is_none();
        let bytes_landing = layers.iter().copied().max().unwrap_or(0);
        MemoryPlan { is_pinned, n_landing: N_LANDING.min(layers.len()), bytes_landing }
    }

    /// Bytes of what is pinned, of the landing slots, and of the rows of an embedding that is not pinned.
    pub fn bytes(&self, layout: &ModelLayout) -> usize {
        let pinned = layout.extents.iter().zip(&self.is_pinned).filter(|(_, pinned)| **pinned);
        let rows = if self.is_pinned[ModelLayout::EMBEDDING] { 0 } else { layout.bytes_embedding_rows() };
        let landing = self.n_landing.saturating_mul(self.bytes_landing);
        pinned.fold(landing.saturating_add(rows), |sum, (bytes, _)| sum.saturating_add(*bytes))
    }

    /// Bytes that every pass reads.
    pub fn bytes_streamed(&self, layout: &ModelLayout) -> usize {
        layout.layer_extents().filter(|&extent| !self.is_pinned[extent]).map(|extent| layout.extents[extent]).sum()
    }
}
