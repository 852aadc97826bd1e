//! A split virtqueue (section 2.7) of buffers of its own, one descriptor each: a device fills them, or reads what is in them.

use crate::device::{DeviceError, Shared};
use core::sync::atomic::{Ordering, fence};

const DEVICE_WRITES: u16 = 2;

/// No interrupts, please: in the flags of the available ring.
const NO_INTERRUPT: u16 = 1;
/// No notification, please: in the flags of the used ring.
const NO_NOTIFY: u16 = 1;

const BYTES_DESCRIPTOR: usize = 16;

/// Where the parts lie in memory.
const DESCRIPTORS: usize = 0;
const AVAILABLE: usize = 4096;
const USED: usize = 8192;
const BUFFERS: usize = 12_288;

/// Most entries that fit.
pub const N_ENTRY_MAX: u16 = 64;

/// Bytes of a queue with `n_buffer` buffers, each of a whole number of pages.
pub const fn bytes_memory(n_buffer: usize, bytes_buffer: usize) -> usize {
    BUFFERS + n_buffer * bytes_buffer
}

/// The queue.
pub struct Buffers {
    memory: Shared,
    n_entry: u16,
    n_buffer: usize,
    bytes_buffer: usize,
    flags: u16,
    /// For each buffer, whether the device has it.
    is_away: u64,
    /// Buffers put into the available ring so far, and taken from the used ring; both wrap.
    n_available: u16,
    n_used: u16,
}

impl Buffers {
    /// A queue of `n_entry` entries, a power of two up to [`N_ENTRY_MAX`], with `n_buffer` buffers, or as many as it has
    /// entries, in [`bytes_memory`] bytes of memory. `is_filled` says that the device writes to them.
    pub fn new(memory: Shared, n_entry: u16, n_buffer: usize, bytes_buffer: usize, is_filled: bool) -> Buffers {
        let n_buffer = n_buffer.min(n_entry.into());
        let flags = if is_filled { DEVICE_WRITES } else { 0 };
        let mut queue =
            Buffers { memory, n_entry, n_buffer, bytes_buffer, flags, is_away: 0, n_available: 0, n_used: 0 };
        queue.memory.write(AVAILABLE, NO_INTERRUPT);
        queue
    }

    /// Addresses of descriptors, available ring and used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [DESCRIPTORS, AVAILABLE, USED].map(|part| self.memory.address(part))
    }

    /// A buffer that the device does not have.
    pub fn free(&self) -> Option<usize> {
        let idx = self.is_away.trailing_ones() as usize;
        (idx < self.n_buffer).then_some(idx)
    }

    /// Copies into a buffer that the device does not have, from its byte `at` on.
    pub fn write(&mut self, idx: usize, at: usize, bytes: &[u8]) {
        assert!(self.is_here(idx) && at + bytes.len() <= self.bytes_buffer);
        self.memory.write_bytes(BUFFERS + idx * self.bytes_buffer + at, bytes);
    }

    /// The first `n_byte` bytes of a buffer that the device does not have.
    pub fn bytes(&self, idx: usize, n_byte: usize) -> &[u8] {
        assert!(self.is_here(idx) && n_byte <= self.bytes_buffer);
        // SAFETY: the device has given it back, and gets it again only from `give`, which needs this queue for itself.
        unsafe { self.memory.bytes(BUFFERS + idx * self.bytes_buffer, n_byte) }
    }

    fn is_here(&self, idx: usize) -> bool {
        idx < self.n_buffer && self.is_away >> idx & 1 == 0
    }

    /// Queues a buffer: `n_byte` bytes to be read, or all of it to be filled.
    pub fn give(&mut self, idx: usize, n_byte: usize) {
        assert!(self.is_here(idx) && n_byte <= self.bytes_buffer);
        let n_byte = if self.flags & DEVICE_WRITES != 0 { self.bytes_buffer } else { n_byte };
        let at = DESCRIPTORS + idx * BYTES_DESCRIPTOR;
        self.memory.write(at, self.memory.address(BUFFERS + idx * self.bytes_buffer));
        self.memory.write(at + 8, n_byte as u32);
        self.memory.write(at + 12, self.flags);
        let place = usize::from(self.n_available % self.n_entry);
        self.memory.write(AVAILABLE + 4 + 2 * place, idx as u16);
        self.n_available = self.n_available.wrapping_add(1);
        self.is_away |= 1 << idx;
    }

    /// Shows what was queued; answers whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        // The device sees descriptors before the index that covers them, and its flags are read after it can see that.
        fence(Ordering::SeqCst);
        self.memory.write(AVAILABLE + 2, self.n_available);
        fence(Ordering::SeqCst);
        self.memory.read::<u16>(USED) & NO_NOTIFY == 0
    }

    /// A buffer that the device is done with, and how many bytes it says that it wrote.
    ///
    /// # Errors
    ///
    /// What cannot be: more buffers than were queued, one that was not, or more bytes than it has.
    pub fn pop(&mut self) -> Result<Option<(usize, usize)>, DeviceError> {
        let n_done = self.memory.read::<u16>(USED + 2);
        if n_done == self.n_used {
            return Ok(None);
        }
        if n_done.wrapping_sub(self.n_used) > self.n_available.wrapping_sub(self.n_used) {
            return Err(DeviceError::Nonsense { what: "the index of the used ring", got: n_done.into() });
        }
        fence(Ordering::SeqCst);
        let place = usize::from(self.n_used % self.n_entry);
        let idx = self.memory.read::<u32>(USED + 4 + 8 * place) as usize;
        let n_byte = self.memory.read::<u32>(USED + 8 + 8 * place) as usize;
        if idx >= self.n_buffer || self.is_here(idx) {
            return Err(DeviceError::Nonsense { what: "a finished descriptor", got: idx as u64 });
        }
        if n_byte > self.bytes_buffer {
            return Err(DeviceError::Nonsense { what: "the length of a filled buffer", got: n_byte as u64 });
        }
        self.n_used = self.n_used.wrapping_add(1);
        self.is_away &= !(1 << idx);
        Ok(Some((idx, n_byte)))
    }
}
