//! From the tensors of a GGUF to panels, on all workers.

use super::layout::TensorShape;
use crate::arithmetic::LANES;
use crate::error::Error;
use crate::format::{Format, pack};
use crate::platform::Platform;
use crate::schedule::Phases;
use alloc::format;
use alloc::string::ToString;

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
