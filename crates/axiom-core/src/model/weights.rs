//! The weights of a model in memory: every tensor by its GGUF name, checked, packed into its extent on all workers.

use super::config::ModelConfig;
use super::layout::{LayerWeights, ModelLayout, TensorShape};
use super::matrix::Matrix;
use crate::arithmetic::LANES;
use crate::error::Error;
use crate::format::{Format, pack};
use crate::memory::TensorRegion;
use crate::platform::Platform;
use crate::schedule::Phases;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

/// A tensor as a file has it: rows of GGUF blocks back to back.
#[derive(Clone, Copy)]
pub struct TensorSource<'a> {
    /// GGUF name.
    pub name: &'a str,
    /// How the rows are stored.
    pub format: Format,
    /// Rows.
    pub n_row: usize,
    /// Columns.
    pub n_col: usize,
    /// The rows.
    pub bytes: &'a [u8],
}

impl<'a> TensorSource<'a> {
    /// The tensor without its bytes.
    pub fn shape(&self) -> TensorShape<'a> {
        TensorShape { name: self.name, format: self.format, n_row: self.n_row, n_col: self.n_col }
    }

    /// Checks that there are as many bytes as the shape needs.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if not.
    pub fn check_len(&self) -> Result<(), Error> {
        let bytes = self.format.bytes_row(self.n_col).and_then(|bytes| bytes.checked_mul(self.n_row));
        if bytes == Some(self.bytes.len()) {
            return Ok(());
        }
        Err(Error::Shape {
            name: self.name.to_string(),
            expected: format!("{} bytes of {}", bytes.unwrap_or(0), self.format.name()),
            got: format!("{} bytes", self.bytes.len()),
        })
    }

    /// Packs panel `panel` of a matrix.
    fn pack_panel(&self, panel: usize, packed: &mut [u8]) {
        let bytes_row = self.format.bytes_row(self.n_col).expect("checked in the layout");
        let first = panel * LANES;
        let rows = &self.bytes[first * bytes_row..(first + LANES).min(self.n_row) * bytes_row];
        pack::pack_panel(self.format, rows, self.n_col, packed);
    }
}

/// Where each extent is in memory.
pub struct Weights {
    layout: ModelLayout,
    bases: Vec<*const u8>,
}

// SAFETY: the extents are in a region that the engine owns, and are only read after loading.
unsafe impl Send for Weights {}
// SAFETY: as above.
unsafe impl Sync for Weights {}

impl Weights {
    /// Carves room for every extent.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(region: &mut TensorRegion, layout: ModelLayout) -> Result<Weights, Error> {
        let bases = layout.extents.iter().map(|bytes| region.carve::<u8>(*bytes).map(<*mut u8>::cast_const));
        Ok(Weights { bases: bases.collect::<Result<_, Error>>()?, layout })
    }

    /// Where tensors lie.
    pub fn layout(&self) -> &ModelLayout {
        &self.layout
    }

    /// `[n_vocab, n_embd]`
    pub fn token_embd(&self) -> Matrix {
        self.layout.token_embd.place(self.bases[ModelLayout::EMBEDDING])
    }

    /// One layer.
    pub fn layer(&self, layer: usize) -> LayerWeights {
        self.layout.layers[layer].place(self.bases[layer + 1])
    }

    fn output_base(&self) -> *const u8 {
        self.bases[self.layout.output_extent()]
    }

    fn output_vector(&self, offset: usize) -> *const f32 {
        self.output_base().wrapping_add(offset).cast()
    }

    /// `[n_embd]`
    pub fn output_norm(&self) -> *const f32 {
        self.output_vector(self.layout.output.norm)
    }

    /// `[n_vocab, n_embd]`; the embedding itself where the model has no head of its own.
    pub fn output(&self) -> Matrix {
        match self.layout.output.head {
            Some(head) => head.place(self.output_base()),
            None => {
                let bias = self.layout.output.tied_bias.map_or(core::ptr::null(), |offset| self.output_vector(offset));
                self.token_embd().with_bias(bias)
            }
        }
    }

    /// `[rope_dim ÷ 2]`, where the model has it.
    pub fn rope_freqs(&self, model: &ModelConfig) -> Option<&[f32]> {
        let offset = self.layout.output.rope_freqs?;
        // SAFETY: the layout has room for them there, and they were written when the weights were loaded.
        Some(unsafe { core::slice::from_raw_parts(self.output_vector(offset), model.rope_dim / 2) })
    }

    /// Packs every tensor into its place, on all workers; `tensors` are those that the layout was made of. `progress(done,
    /// total)` in bytes, called on the calling thread, stops it with `false`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a tensor with too few or too many bytes, [`Error::Cancelled`] if `progress` said so.
    ///
    /// # Safety
    ///
    /// The weights were carved from real memory, which nobody uses meanwhile.
    pub unsafe fn pack(
        &self,
        tensors: &[TensorSource<'_>],
        platform: &dyn Platform,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<(), Error> {
        tensors.iter().try_for_each(TensorSource::check_len)?;
        let total = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
        let mut done = 0;
        for at in &self.layout.tensors {
            let tensor = &tensors[at.tensor];
            // SAFETY: the caller's duty; the tensor's place is within its extent.
            let packed = unsafe {
                let start = self.bases[at.extent].cast_mut().add(at.offset);
                core::slice::from_raw_parts_mut(start, at.bytes)
            };
            if at.is_vector {
                packed.copy_from_slice(tensor.bytes); // little-endian f32 there and here
            } else {
                pack_matrix(tensor, packed, platform);
            }
            done += tensor.bytes.len();
            if !progress(done, total) {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }
}

/// Packs a matrix into its panels, on all workers.
pub fn pack_matrix(tensor: &TensorSource<'_>, packed: &mut [u8], platform: &dyn Platform) {
    let bytes_panel = tensor.format.bytes_panel(tensor.n_col).expect("checked in the layout");
    let n_panel = tensor.n_row.div_ceil(LANES);
    assert_eq!(packed.len(), n_panel * bytes_panel, "{}: room for its panels", tensor.name);
    // A chunk is about 256 KiB of panels, the smallest piece worth handing out.
    let per_chunk = (256 * 1024 / bytes_panel.max(1)).max(1);
    let base = Panels(packed.as_mut_ptr());
    let phases = Phases::new();
    platform.run(&|_worker| {
        let base = &base;
        let _ = phases.join(platform).phase(n_panel.div_ceil(per_chunk), |chunk| {
            for panel in chunk * per_chunk..((chunk + 1) * per_chunk).min(n_panel) {
                // SAFETY: within `packed`; each chunk, and so each panel, is handed out once.
                let panel_bytes =
                    unsafe { core::slice::from_raw_parts_mut(base.0.add(panel * bytes_panel), bytes_panel) };
                tensor.pack_panel(panel, panel_bytes);
            }
        });
    });
}

/// Panels that workers share out among themselves.
struct Panels(*mut u8);

// SAFETY: each panel is written by the one worker that took it.
unsafe impl Sync for Panels {}
