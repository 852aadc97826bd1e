//! A virtqueue of buffers of its own, one descriptor each: a device fills them, or reads what is in them.

use super::rings::{BYTES_RINGS, DEVICE_WRITES, Rings};
use crate::device::{DeviceError, Shared};

/// Most entries: one bit each of [`Buffers::is_away`].
pub const N_ENTRY_MAX: u16 = 64;

/// Bytes of a queue with `n_buffer` buffers, each of a whole number of pages.
pub const fn bytes_memory(n_buffer: usize, bytes_buffer: usize) -> usize {
    BYTES_RINGS + n_buffer * bytes_buffer
}

/// The queue.
pub struct Buffers {
    rings: Rings,
    n_buffer: usize,
    bytes_buffer: usize,
    flags: u16,
    /// For each buffer, whether the device has it.
    is_away: u64,
}

impl Buffers {
    /// A queue of `n_entry` entries, a power of two up to [`N_ENTRY_MAX`], with `n_buffer` buffers, or as many as it has
    /// entries, in [`bytes_memory`] bytes of memory. `is_filled` says that the device writes to them.
    pub fn new(memory: Shared, n_entry: u16, n_buffer: usize, bytes_buffer: usize, is_filled: bool) -> Buffers {
        let n_buffer = n_buffer.min(n_entry.into());
        let flags = if is_filled { DEVICE_WRITES } else { 0 };
        Buffers { rings: Rings::new(memory, n_entry), n_buffer, bytes_buffer, flags, is_away: 0 }
    }

    /// Addresses of descriptors, available ring and used ring.
    pub fn addresses(&self) -> [u64; 3] {
        self.rings.addresses()
    }

    /// A buffer that the device does not have.
    pub fn free(&self) -> Option<usize> {
        let idx = self.is_away.trailing_ones() as usize;
        (idx < self.n_buffer).then_some(idx)
    }

    /// Copies into a buffer that the device does not have, from its byte `at` on.
    pub fn write(&mut self, idx: usize, at: usize, bytes: &[u8]) {
        assert!(self.is_here(idx) && at + bytes.len() <= self.bytes_buffer);
        self.rings.memory.write_bytes(self.place(idx) + at, bytes);
    }

    /// The first `n_byte` bytes of a buffer that the device does not have.
    pub fn bytes(&self, idx: usize, n_byte: usize) -> &[u8] {
        assert!(self.is_here(idx) && n_byte <= self.bytes_buffer);
        // SAFETY: the device has given it back, and gets it again only from `give`, which needs this queue for itself.
        unsafe { self.rings.memory.bytes(self.place(idx), n_byte) }
    }

    fn is_here(&self, idx: usize) -> bool {
        idx < self.n_buffer && self.is_away >> idx & 1 == 0
    }

    /// Where a buffer lies in memory.
    fn place(&self, idx: usize) -> usize {
        BYTES_RINGS + idx * self.bytes_buffer
    }

    /// Queues a buffer: `n_byte` bytes to be read, or all of it to be filled.
    pub fn give(&mut self, idx: usize, n_byte: usize) {
        assert!(self.is_here(idx) && n_byte <= self.bytes_buffer);
        let n_byte = if self.flags & DEVICE_WRITES != 0 { self.bytes_buffer } else { n_byte };
        let address = self.rings.memory.address(self.place(idx));
        self.rings.describe(idx, address, n_byte as u32, self.flags);
        self.rings.offer(idx);
        self.is_away |= 1 << idx;
    }

    /// Shows what was queued; answers whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        self.rings.publish()
    }

    /// A buffer that the device is done with, and how many bytes it says that it wrote.
    ///
    /// # Errors
    ///
    /// What cannot be: more buffers than were queued, one that was not, or more bytes than it has.
    pub fn pop(&mut self) -> Result<Option<(usize, usize)>, DeviceError> {
        let Some((idx, n_byte)) = self.rings.done()? else { return Ok(None) };
        if idx >= self.n_buffer || self.is_here(idx) {
            return Err(DeviceError::Nonsense { what: "a finished descriptor", got: idx as u64 });
        }
        if n_byte > self.bytes_buffer {
            return Err(DeviceError::Nonsense { what: "the length of a filled buffer", got: n_byte as u64 });
        }
        self.rings.take();
        self.is_away &= !(1 << idx);
        Ok(Some((idx, n_byte)))
    }
}
