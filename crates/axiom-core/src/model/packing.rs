//! From the tensors of a GGUF to panels, on all workers.

use super::layout::TensorShape;
use super::progress::{Counted, Progress};
use crate::arithmetic::LANES;
use crate::error::Error;
use crate::format::{Format, pack};
use crate::platform::{IoFault, Platform, StoredBytes};
use crate::schedule::Phases;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    pub bytes: TensorBytes<'a>,
}

/// The bytes of a tensor.
#[derive(Clone, Copy)]
pub enum TensorBytes<'a> {
    /// In memory.
    Memory(&'a [u8]),
    /// Somewhere else: each piece is read by the worker that packs it.
    Stored(&'a dyn StoredBytes),
}

impl<'a> TensorBytes<'a> {
    /// How many there are.
    pub fn n_bytes(&self) -> usize {
        match self {
            TensorBytes::Memory(bytes) => bytes.len(),
            TensorBytes::Stored(bytes) => bytes.n_bytes(),
        }
    }

    /// Some of them: where they are, or read into `room`.
    fn piece<'b>(&self, range: Range<usize>, room: &'b mut Vec<u8>) -> Result<&'b [u8], IoFault>
    where
        'a: 'b,
    {
        match self {
            TensorBytes::Memory(bytes) => Ok(&bytes[range]),
            TensorBytes::Stored(bytes) => {
                room.resize(range.len(), 0);
                bytes.read(range.start, room)?;
                Ok(room)
            }
        }
    }
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
        if bytes == Some(self.bytes.n_bytes()) {
            return Ok(());
        }
        Err(Error::Shape {
            name: self.name.to_string(),
            expected: format!("{} bytes of {}", bytes.unwrap_or(0), self.format.name()),
            got: format!("{} bytes", self.bytes.n_bytes()),
        })
    }

    /// Copies a vector, little-endian f32 there and here, into its place.
    ///
    /// # Errors
    ///
    /// [`Error::ReadTensor`].
    pub fn copy_vector(&self, to: &mut [u8]) -> Result<(), Error> {
        match self.bytes {
            TensorBytes::Memory(bytes) => to.copy_from_slice(bytes),
            TensorBytes::Stored(bytes) => bytes.read(0, to).map_err(|fault| self.cannot_read(fault))?,
        }
        Ok(())
    }

    fn cannot_read(&self, fault: IoFault) -> Error {
        Error::ReadTensor { name: self.name.to_string(), fault }
    }
}

/// Packs a matrix into its panels, on all workers. `progress` counts its bytes.
///
/// # Errors
///
/// [`Error::ReadTensor`], [`Error::Cancelled`] if `progress` said so.
pub fn pack_matrix(
    tensor: &TensorSource<'_>,
    packed: &mut [u8],
    platform: &dyn Platform,
    progress: Progress<'_>,
) -> Result<(), Error> {
    pack_panels(tensor, packed, platform, &mut Counted::new(tensor.bytes.n_bytes(), progress))
}

/// As [`pack_matrix`], for one of several.
pub(super) fn pack_panels(
    tensor: &TensorSource<'_>,
    packed: &mut [u8],
    platform: &dyn Platform,
    counted: &mut Counted<'_>,
) -> Result<(), Error> {
    let bytes_row = tensor.format.bytes_row(tensor.n_col).expect("checked in the layout");
    let bytes_panel = tensor.format.bytes_panel(tensor.n_col).expect("checked in the layout");
    let n_panel = tensor.n_row.div_ceil(LANES);
    assert_eq!(packed.len(), n_panel * bytes_panel, "{}: room for its panels", tensor.name);
    if n_panel == 0 {
        return Ok(());
    }
    // A chunk is about 256 KiB of panels, the smallest piece worth handing out.
    let per_chunk = (256 * 1024 / bytes_panel.max(1)).max(1);
    let base = Panels(packed.as_mut_ptr());
    let phases = Phases::new();
    let first_fault = FirstFault::default();
    let told = &*counted;
    platform.run(&|worker| {
        let (base, mut room) = (&base, Vec::new());
        // It is cancelled for a fault, or by who is told: both are looked at below.
        let _ = phases.join(platform).phase(n_panel.div_ceil(per_chunk), |chunk| {
            let panels = chunk * per_chunk..((chunk + 1) * per_chunk).min(n_panel);
            let rows = panels.start * LANES..(panels.end * LANES).min(tensor.n_row);
            let bytes = match tensor.bytes.piece(rows.start * bytes_row..rows.end * bytes_row, &mut room) {
                Ok(bytes) => bytes,
                Err(fault) => {
                    first_fault.set(fault);
                    return phases.cancel();
                }
            };
            for (panel, rows) in panels.zip(bytes.chunks((LANES * bytes_row).max(1))) {
                // SAFETY: within `packed`; each chunk, and so each panel, is handed out once.
                let panel_bytes =
                    unsafe { core::slice::from_raw_parts_mut(base.0.add(panel * bytes_panel), bytes_panel) };
                pack::pack_panel(tensor.format, rows, tensor.n_col, panel_bytes);
            }
            // SAFETY: this worker's number.
            if unsafe { told.add(worker, bytes.len()) }.is_err() {
                phases.cancel();
            }
        });
    });
    first_fault.fault.into_inner().map_or(Ok(()), |fault| Err(tensor.cannot_read(fault)))?;
    counted.tell(0)
}

/// The first fault that a worker met.
#[derive(Default)]
struct FirstFault {
    is_set: AtomicBool,
    fault: UnsafeCell<Option<IoFault>>,
}

// SAFETY: the one worker that comes first writes the fault, and nobody reads it until all workers have ended.
unsafe impl Sync for FirstFault {}

impl FirstFault {
    fn set(&self, fault: IoFault) {
        if !self.is_set.swap(true, Relaxed) {
            // SAFETY: this worker came first.
            unsafe { *self.fault.get() = Some(fault) };
        }
    }
}

/// Panels that workers share out among themselves.
struct Panels(*mut u8);

// SAFETY: each panel is written by the one worker that took it.
unsafe impl Sync for Panels {}
