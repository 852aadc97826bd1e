//! `TensorRegion`: the one reservation that everything large lives in.

use crate::error::Error;
use core::ptr::NonNull;

/// Alignment of every piece: a cache line.
const ALIGN: usize = 64;
/// Alignment of what a disk is read into.
const PAGE: usize = 4096;

/// A region that is carved from front to back and never given back piece by piece.
///
/// The same carving code runs twice: first on [`TensorRegion::measure`], to learn the size, then on the memory itself.
pub struct TensorRegion {
    base: Option<NonNull<u8>>,
    len: usize,
    used: usize,
}

impl TensorRegion {
    /// A region without memory, that counts what is carved from it.
    pub fn measure() -> TensorRegion {
        TensorRegion { base: None, len: usize::MAX, used: 0 }
    }

    /// The region of `len` bytes at `base`.
    ///
    /// # Safety
    ///
    /// The bytes are zero, aligned to 64, and belong to the region's user until all that is carved is out of use.
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> TensorRegion {
        TensorRegion { base: Some(base), len, used: 0 }
    }

    /// Bytes carved so far.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Carves zeroed room for `n` bytes that begins and ends at multiples of 4 KiB, as disks and pages do.
    ///
    /// # Errors
    ///
    /// As [`TensorRegion::carve`].
    pub fn carve_pages(&mut self, n: usize) -> Result<*mut u8, Error> {
        let (start, n) = (self.used.checked_next_multiple_of(PAGE), n.checked_next_multiple_of(PAGE));
        let (Some(start), Some(n)) = (start, n) else {
            return Err(Error::Region { len: self.len, used: self.used, n: usize::MAX, bytes_each: 1 });
        };
        self.carve::<u8>(start - self.used)?;
        self.carve(n)
    }

    /// Carves zeroed room for `n` values. While measuring, the pointer dangles and must not be read or written.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the size overflows or the region is too small.
    pub fn carve<T>(&mut self, n: usize) -> Result<*mut T, Error> {
        let start = self.used;
        let end = n
            .checked_mul(size_of::<T>())
            .and_then(|bytes| start.checked_add(bytes)?.checked_next_multiple_of(ALIGN))
            .filter(|end| *end <= self.len && *end <= isize::MAX as usize)
            .ok_or(Error::Region { len: self.len, used: start, n, bytes_each: size_of::<T>() })?;
        self.used = end;
        Ok(match self.base {
            // SAFETY: start ≤ end ≤ len, so the address is inside the region (or one past it, for zero bytes).
            Some(base) => unsafe { base.as_ptr().add(start).cast() },
            None => NonNull::dangling().as_ptr(),
        })
    }
}
