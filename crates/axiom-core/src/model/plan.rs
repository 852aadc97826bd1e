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
        let n_layer = layout.layers.len();
        let layers = 1..1 + n_layer;
        let bytes_landing = layout.extents[layers.clone()].iter().copied().max().unwrap_or(0);
        let n_landing = N_LANDING.min(n_layer);
        let mut is_pinned = vec![false; layout.extents.len()];
        is_pinned[layout.output_extent()] = true;
        is_pinned[ModelLayout::EMBEDDING] = layout.output.head.is_none();
        let rows = if is_pinned[ModelLayout::EMBEDDING] { 0 } else { layout.bytes_embedding_rows() };
        let pinned = |is_pinned: &[bool]| -> usize {
            layout.extents.iter().zip(is_pinned).filter(|(_, pinned)| **pinned).map(|(bytes, _)| bytes).sum()
        };
        let budget = budget.saturating_sub(rows);
        let floor = pinned(&is_pinned) + n_landing * bytes_landing;
        if floor > budget {
            return Err(Error::Budget { floor: floor + rows, budget: budget + rows });
        }
        // As many layers as fit, evenly spread; fewer, should an uneven model make the spread ones larger than the first.
        for n_pinned in (0..n_layer).rev() {
            for i in 0..n_layer {
                is_pinned[1 + i] = (i + 1) * n_pinned / n_layer > i * n_pinned / n_layer;
            }
            if pinned(&is_pinned) + n_landing * bytes_landing <= budget {
                break;
            }
        }
        Ok(MemoryPlan { is_pinned, n_landing, bytes_landing })
    }

    /// Bytes of the slots.
    pub fn bytes(&self, layout: &ModelLayout) -> usize {
        let pinned = layout.extents.iter().zip(&self.is_pinned).filter(|(_, pinned)| **pinned);
        pinned.map(|(bytes, _)| bytes).sum::<usize>() + self.n_landing * self.bytes_landing
    }

    /// Bytes that every pass reads.
    pub fn bytes_streamed(&self, layout: &ModelLayout) -> usize {
        let layers = 1..1 + layout.layers.len();
        layers.filter(|&extent| !self.is_pinned[extent]).map(|extent| layout.extents[extent]).sum()
    }
}
