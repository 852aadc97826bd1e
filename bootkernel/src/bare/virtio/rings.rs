//! The rings of a split virtqueue (section 2.7): descriptors, what is offered to the device, and what it is done with.

use crate::device::{DeviceError, Shared};
use core::sync::atomic::{Ordering, fence};

/// Flags of a descriptor: the next one belongs to it; the device writes to it.
pub const NEXT: u16 = 1;
pub const DEVICE_WRITES: u16 = 2;

/// No interrupts, please: in the flags of the available ring.
const NO_INTERRUPT: u16 = 1;
/// No notification, please: in the flags of the used ring.
const NO_NOTIFY: u16 = 1;

const BYTES_DESCRIPTOR: usize = 16;

/// Where the parts lie in memory.
const DESCRIPTORS: usize = 0;
const AVAILABLE: usize = 4096;
const USED: usize = 8192;

/// Bytes of the rings. What else a queue has in its memory lies behind them.
pub const BYTES_RINGS: usize = 12_288;

/// Most entries that fit.
pub const N_ENTRY_MAX: u16 = 256;

/// The rings, at the beginning of a queue's memory.
pub struct Rings {
    pub memory: Shared,
    n_entry: u16,
    /// Chains put into the available ring so far, and taken from the used ring; both wrap.
    n_available: u16,
    n_used: u16,
}

impl Rings {
    /// Rings of `n_entry` entries, a power of two up to [`N_ENTRY_MAX`], in memory that is zero.
    pub fn new(mut memory: Shared, n_entry: u16) -> Rings {
        memory.write(AVAILABLE, NO_INTERRUPT);
        Rings { memory, n_entry, n_available: 0, n_used: 0 }
    }

    /// As before the first request: all of the memory is zero.
    pub fn clear(&mut self) {
        self.memory.clear();
        (self.n_available, self.n_used) = (0, 0);
        self.memory.write(AVAILABLE, NO_INTERRUPT);
    }

    /// Entries.
    pub fn n_entry(&self) -> u16 {
        self.n_entry
    }

    /// Addresses of descriptors, available ring and used ring.
    pub fn addresses(&self) -> [u64; 3] {
        [DESCRIPTORS, AVAILABLE, USED].map(|part| self.memory.address(part))
    }

    /// Writes a descriptor. With [`NEXT`] it is the one after it that follows.
    pub fn describe(&mut self, idx: usize, address: u64, n_byte: u32, flags: u16) {
        let at = DESCRIPTORS + idx * BYTES_DESCRIPTOR;
        self.memory.write(at, address);
        self.memory.write(at + 8, n_byte);
        self.memory.write(at + 12, flags);
        self.memory.write(at + 14, idx as u16 + 1);
    }

    /// Queues the chain that begins with descriptor `first`.
    pub fn offer(&mut self, first: usize) {
        let place = usize::from(self.n_available % self.n_entry);
        self.memory.write(AVAILABLE + 4 + 2 * place, first as u16);
        self.n_available = self.n_available.wrapping_add(1);
    }

    /// Shows what was queued; answers whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        // The device sees descriptors before the index that covers them, and its flags are read after it can see that.
        fence(Ordering::SeqCst);
        self.memory.write(AVAILABLE + 2, self.n_available);
        fence(Ordering::SeqCst);
        self.memory.read::<u16>(USED) & NO_NOTIFY == 0
    }

    /// The chain that the device is done with next, by its first descriptor, and how many bytes it says that it wrote. It stays
    /// the next one until it is [taken](Rings::take).
    ///
    /// # Errors
    ///
    /// More chains than were queued.
    pub fn done(&self) -> Result<Option<(usize, usize)>, DeviceError> {
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
        Ok(Some((first, self.memory.read::<u32>(USED + 8 + 8 * place) as usize)))
    }

    /// Takes what [`Rings::done`] has answered.
    pub fn take(&mut self) {
        self.n_used = self.n_used.wrapping_add(1);
    }
}
