//! `Weights`: where each extent is in memory, and the tensors in it.

use super::layout::{LayerWeights, ModelLayout};
use super::matrix::Matrix;
use crate::config::ModelConfig;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// The extents of a model. The place of one that is streamed changes from pass to pass, before its layer begins.
pub struct Weights {
    layout: ModelLayout,
    bases: Vec<AtomicPtr<u8>>,
}

impl Weights {
    /// Extents that have no place yet.
    pub fn new(layout: ModelLayout) -> Weights {
        Weights { bases: layout.extents.iter().map(|_| AtomicPtr::default()).collect(), layout }
    }

    /// Where tensors lie.
    pub fn layout(&self) -> &ModelLayout {
        &self.layout
    }

    /// Puts an extent in its place.
    pub fn set_base(&self, extent: usize, base: *mut u8) {
        self.bases[extent].store(base, Relaxed);
    }

    /// The place of an extent, null while it has none.
    pub fn base(&self, extent: usize) -> *mut u8 {
        self.bases[extent].load(Relaxed)
    }

    /// `[n_vocab, n_embd]`, if the extent of the embedding has a place.
    pub fn token_embd(&self) -> Option<Matrix> {
        let base = self.base(ModelLayout::EMBEDDING);
        (!base.is_null()).then(|| self.layout.token_embd.place(base))
    }

    /// One layer.
    pub fn layer(&self, layer: usize) -> LayerWeights {
        self.layout.layers[layer].place(self.base(ModelLayout::layer_extent(layer)))
    }

    fn output_vector(&self, offset: usize) -> *const f32 {
        self.base(self.layout.output_extent()).wrapping_add(offset).cast_const().cast()
    }

    /// `[n_embd]`
    pub fn output_norm(&self) -> *const f32 {
        self.output_vector(self.layout.output.norm)
    }

    /// `[n_vocab, n_embd]`; the embedding itself where the model has no head of its own.
    pub fn output(&self) -> Matrix {
        match self.layout.output.head {
            Some(head) => head.place(self.base(self.layout.output_extent())),
            None => {
                let bias = self.layout.output.tied_bias.map_or(core::ptr::null(), |offset| self.output_vector(offset));
                self.layout.token_embd.place(self.base(ModelLayout::EMBEDDING)).with_bias(bias)
            }
        }
    }

    /// `[rope_dim ÷ 2]`, where the model has it.
    ///
    /// # Safety
    ///
    /// The extent of the output has been loaded.
    pub unsafe fn rope_freqs(&self, model: &ModelConfig) -> Option<&[f32]> {
        let offset = self.layout.output.rope_freqs?;
        // SAFETY: the layout has room for them there; that they are there is the caller's duty.
        Some(unsafe { core::slice::from_raw_parts(self.output_vector(offset), model.rope_dim / 2) })
    }
}
