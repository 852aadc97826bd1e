//! A split virtqueue (section 2.7) for reads of a disk: every request has three descriptors of its own, always the same ones,
//! so that nothing is searched and nothing can leak.

use crate::device::{DeviceError, Shared};
use core::sync::atomic::{Ordering, fence};

/// Descriptors of a request: the head that says what to do, the data, and the byte for the result.
const N_DESCRIPTOR: usize = 3;

const NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;

/// No interrupts, please: in the flags of the available ring.
const NO_INTERRUPT: u16 = 1;
/// No notification, please: in the flags of the used ring.
const NO_NOTIFY: u16 = 1;

/// What a device leaves in the result byte if it has not written it.
const NOT_WRITTEN: u8 = 0xff;

const BYTES_DESCRIPTOR: usize = 16;
const BYTES_HEAD: usize = 32;

/// Where the parts lie in memory.
const DESCRIPTORS: usize = 0;
const AVAILABLE: usize = 4096;
const USED: usize = 8192;
const HEADS: usize = 12_288;

/// Bytes of it all.
pub const BYTES_QUEUE: usize = 16_384;

/// Most entries that fit.
pub const N_ENTRY_MAX: u16 = 256;

/// The queue.
pub struct Queue {
    memory: Shared,
    n_entry: u16,
    /// Requests put into the available ring so far, and taken from the used ring; both wrap.
    n_available: u16,
    n_used: u16,
}

impl Queue {
    /// An empty queue of `n_entry` entries, a power of two up to [`N_ENTRY_MAX`], in [`BYTES_QUEUE`] bytes of memory.
    pub fn new(memory: Shared, n_entry: u16) -> Queue {
        let mut queue = Queue { memory, n_entry, n_available: 0, n_used: 0 };
        queue.clear();
        queue
    }

    /// As before the first request.
    pub fn clear(&mut self) {
        self.memory.clear();
        (self.n_available, self.n_used) = (0, 0);
        self.memory.write(AVAILABLE, NO_INTERRUPT);
    }

    /// Entries.
    pub fn n_entry(&self) -> u16 {
        self.n_entry
    }

    /// Requests that may be under way.
    pub fn n_slot(&self) -> usize {
        usize::from(self.n_entry) / N_DESCRIPTOR
    }

    /// Addresses of descriptors, available ring and used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [DESCRIPTORS, AVAILABLE, USED].map(|part| self.memory.address(part))
    }

    /// Queues a read of `n_byte` bytes from `sector` (of 512 bytes) to `to`.
    pub fn push_read(&mut self, slot: usize, sector: u64, to: u64, n_byte: u32) {
        let head = HEADS + slot * BYTES_HEAD;
        self.memory.write(head, 0u32); // a read
        self.memory.write(head + 4, 0u32);
        self.memory.write(head + 8, sector);
        self.memory.write(head + 16, NOT_WRITTEN);
        let first = slot * N_DESCRIPTOR;
        let (head, result) = (self.memory.address(head), self.memory.address(head + 16));
        self.describe(first, head, 16, NEXT);
        self.describe(first + 1, to, n_byte, NEXT | DEVICE_WRITES);
        self.describe(first + 2, result, 1, DEVICE_WRITES);
        let place = usize::from(self.n_available % self.n_entry);
        self.memory.write(AVAILABLE + 4 + 2 * place, first as u16);
        self.n_available = self.n_available.wrapping_add(1);
    }

    fn describe(&mut self, idx: usize, address: u64, n_byte: u32, flags: u16) {
        let at = DESCRIPTORS + idx * BYTES_DESCRIPTOR;
        self.memory.write(at, address);
        self.memory.write(at + 8, n_byte);
        self.memory.write(at + 12, flags);
        self.memory.write(at + 14, idx as u16 + 1);
    }

    /// Shows what was queued; answers whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        // The device sees descriptors before the index that covers them, and its flags are read after it can see that.
        fence(Ordering::SeqCst);
        self.memory.write(AVAILABLE + 2, self.n_available);
        fence(Ordering::SeqCst);
        self.memory.read::<u16>(USED) & NO_NOTIFY == 0
    }

    /// A request that the device is done with: its slot and its result, 0 for success.
    ///
    /// # Errors
    ///
    /// What cannot be: more requests than were queued, one that does not exist, or one without a result.
    pub fn pop(&mut self) -> Result<Option<(usize, u8)>, DeviceError> {
        let n_done = self.memory.read::<u16>(USED + 2);
        if n_done == self.n_used {
            return Ok(None);
        }
        if n_done.wrapping_sub(self.n_used) > self.n_available.wrapping_sub(self.n_used) {
            return Err(DeviceError::Nonsense { what: "the index of the used ring", got: n_done.into() });
        }
        fence(Ordering::SeqCst);
        let place = usize::from(self.n_used % self.n_entry);
        let first = self.memory.read::<u32>(USED + 4 + 8 * place) as usize;
        let slot = first / N_DESCRIPTOR;
        if !first.is_multiple_of(N_DESCRIPTOR) || slot >= self.n_slot() {
            return Err(DeviceError::Nonsense { what: "a finished descriptor", got: first as u64 });
        }
        self.n_used = self.n_used.wrapping_add(1);
        let result = self.memory.read::<u8>(HEADS + slot * BYTES_HEAD + 16);
        if result == NOT_WRITTEN {
            return Err(DeviceError::Nonsense { what: "the result of a finished read", got: result.into() });
        }
        Ok(Some((slot, result)))
    }
}
