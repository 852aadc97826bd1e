//! `Matrix`: a weight matrix in panels, and its product with rows of activations.

use crate::arithmetic::activation::Activations;
use crate::arithmetic::{BLOCK, LANES};
use crate::format::{Format, pack};
use crate::kernels::Kernels;
use core::ops::Range;

/// A matrix `[n_row, n_col]`: a row makes one output.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// How weights are stored.
    pub format: Format,
    /// Outputs.
    pub n_row: usize,
    /// Inputs.
    pub n_col: usize,
    bytes_panel: usize,
    panels: *const u8,
    /// f32 `[n_row]`, or null.
    bias: *const f32,
}

// SAFETY: what a matrix points to is only read while it is in use.
unsafe impl Send for Matrix {}
// SAFETY: as above.
unsafe impl Sync for Matrix {}

/// Row `row` of a matrix as f32, from the panel that holds it. `bytes` is room for a row in GGUF.
pub(super) fn row_of_panel(format: Format, panel: &[u8], row: usize, n_col: usize, bytes: &mut [u8], out: &mut [f32]) {
    pack::unpack_row(format, panel, row % LANES, n_col, bytes);
    format.dequantize_row(bytes, out);
}

impl Matrix {
    /// The matrix whose panels, of `bytes_panel` each, are at `panels`; `bias` is f32 `[n_row]` or null.
    pub(super) fn new(
        format: Format,
        n_row: usize,
        n_col: usize,
        bytes_panel: usize,
        panels: *const u8,
        bias: *const f32,
    ) -> Matrix {
        Matrix { format, n_row, n_col, bytes_panel, panels, bias }
    }

    /// The matrix with another bias, f32 `[n_row]` or null.
    pub(super) fn with_bias(self, bias: *const f32) -> Matrix {
        Matrix { bias, ..self }
    }

    /// Panels of 16 rows.
    pub fn n_panel(&self) -> usize {
        self.n_row.div_ceil(LANES)
    }

    /// Bytes of a panel.
    pub fn bytes_panel(&self) -> usize {
        self.bytes_panel
    }

    fn panel(&self, panel: usize) -> *const u8 {
        debug_assert!(panel < self.n_panel());
        // SAFETY: within the matrix.
        unsafe { self.panels.add(panel * self.bytes_panel) }
    }

    /// One row as f32, as an embedding reads it. `bytes` is room for a row in GGUF.
    pub fn row(&self, row: usize, bytes: &mut [u8], out: &mut [f32]) {
        assert!(row < self.n_row, "row {row} of {}", self.n_row);
        // SAFETY: a whole panel, which nobody writes after loading.
        let panel = unsafe { core::slice::from_raw_parts(self.panel(row / LANES), self.bytes_panel) };
        row_of_panel(self.format, panel, row, self.n_col, bytes, out);
    }

    /// Outputs of a run of panels for rows `start` … `end − 1` of `x`, bias added. Row `start` of the first panel goes to `out`,
    /// rows lie `stride` apart; exactly the panels' outputs are written, of the matrix's last perhaps fewer than 16.
    ///
    /// # Safety
    ///
    /// `x` is as `Kernels::multiply` wants it, with the matrix's columns; `out` is writable for those outputs.
    pub unsafe fn multiply(
        &self,
        kernels: &Kernels,
        panels: Range<usize>,
        x: &Activations,
        (start, end): (usize, usize),
        out: *mut f32,
        stride: usize,
    ) {
        debug_assert_eq!(x.n_block, self.n_col.div_ceil(BLOCK));
        if panels.is_empty() {
            return;
        }
        let n_out = (panels.end * LANES).min(self.n_row) - panels.start * LANES;
        let (n_whole, n_rest) = (n_out / LANES, n_out % LANES);
        // SAFETY: the caller's duty; a part of a panel goes through a buffer of whole rows, 16 at a time.
        unsafe {
            kernels.multiply(self.format, (self.panel(panels.start), n_whole), x, (start, end), out, stride);
            if n_rest > 0 {
                let mut whole = [0f32; LANES * LANES];
                let out = out.add(n_whole * LANES);
                let mut row = start;
                while row < end {
                    let next = (row + LANES).min(end);
                    let last = (self.panel(panels.start + n_whole), 1);
                    kernels.multiply(self.format, last, x, (row, next), whole.as_mut_ptr(), LANES);
                    for r in row..next {
                        let from = whole.as_ptr().add((r - row) * LANES);
                        core::ptr::copy_nonoverlapping(from, out.add((r - start) * stride), n_rest);
                    }
                    row = next;
                }
            }
            if !self.bias.is_null() {
                for row in 0..end - start {
                    (kernels.add)(out.add(row * stride), self.bias.add(panels.start * LANES), n_out);
                }
            }
        }
    }
}
