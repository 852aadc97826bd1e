//! A virtqueue for reads of a disk: every request has three descriptors of its own, always the same ones, so that nothing is
//! searched and nothing can leak.

use super::rings::{BYTES_RINGS, DEVICE_WRITES, NEXT, Rings};
use crate::device::{DeviceError, Shared};

pub use super::rings::N_ENTRY_MAX;

/// Descriptors of a request: the head that says what to do, the data, and the byte for the result.
const N_DESCRIPTOR: usize = 3;

/// What a device leaves in the result byte if it has not written it.
const NOT_WRITTEN: u8 = 0xff;

const BYTES_HEAD: usize = 32;

/// Where the heads lie in memory.
const HEADS: usize = BYTES_RINGS;

/// Bytes of it all.
pub const BYTES_QUEUE: usize = 16_384;

/// The queue.
pub struct Queue {
    rings: Rings,
}

impl Queue {
    /// An empty queue of `n_entry` entries, a power of two up to [`N_ENTRY_MAX`], in [`BYTES_QUEUE`] bytes of memory.
    pub fn new(memory: Shared, n_entry: u16) -> Queue {
        let mut queue = Queue { rings: Rings::new(memory, n_entry) };
        queue.clear();
        queue
    }

    /// As before the first request.
    pub fn clear(&mut self) {
        self.rings.clear();
    }

    /// Entries.
    pub fn n_entry(&self) -> u16 {
        self.rings.n_entry()
    }

    /// Requests that may be under way.
    pub fn n_slot(&self) -> usize {
        usize::from(self.n_entry()) / N_DESCRIPTOR
    }

    /// Addresses of descriptors, available ring and used ring.
    pub fn addresses(&self) -> [u64; 3] {
        self.rings.addresses()
    }

    /// Queues a read of `n_byte` bytes from `sector` (of 512 bytes) to `to`.
    pub fn push_read(&mut self, slot: usize, sector: u64, to: u64, n_byte: u32) {
        let (head, memory) = (HEADS + slot * BYTES_HEAD, &mut self.rings.memory);
        memory.write(head, 0u32); // a read
        memory.write(head + 4, 0u32);
        memory.write(head + 8, sector);
        memory.write(head + 16, NOT_WRITTEN);
        let first = slot * N_DESCRIPTOR;
        let (head, result) = (memory.address(head), memory.address(head + 16));
        self.rings.describe(first, head, 16, NEXT);
        self.rings.describe(first + 1, to, n_byte, NEXT | DEVICE_WRITES);
        self.rings.describe(first + 2, result, 1, DEVICE_WRITES);
        self.rings.offer(first);
    }

    /// Shows what was queued; answers whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        self.rings.publish()
    }

    /// A request that the device is done with: its slot and its result, 0 for success.
    ///
    /// # Errors
    ///
    /// What cannot be: more requests than were queued, one that does not exist, or one without a result.
    pub fn pop(&mut self) -> Result<Option<(usize, u8)>, DeviceError> {
        let Some((first, _)) = self.rings.done()? else { return Ok(None) };
        let slot = first / N_DESCRIPTOR;
        if !first.is_multiple_of(N_DESCRIPTOR) || slot >= self.n_slot() {
            return Err(DeviceError::Nonsense { what: "a finished descriptor", got: first as u64 });
        }
        self.rings.take();
        let result = self.rings.memory.read::<u8>(HEADS + slot * BYTES_HEAD + 16);
        if result == NOT_WRITTEN {
            return Err(DeviceError::Nonsense { what: "the result of a finished read", got: result.into() });
        }
        Ok(Some((slot, result)))
    }
}
