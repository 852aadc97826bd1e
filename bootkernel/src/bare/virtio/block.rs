//! A virtio disk (section 5.2).

use super::queue::{BYTES_QUEUE, N_ENTRY_MAX, Queue};
use super::{Transport, negotiate, status};
use crate::device::disk::{Driver, Ended, N_REQUEST};
use crate::device::{Clock, DeviceError, Shared};

/// Features that matter: the largest segment, and the size of blocks.
const SIZE_MAX: u32 = 1 << 1;
const BLOCK_SIZE: u32 = 1 << 6;

const BYTES_SECTOR: u32 = 512;

/// The largest read: longer ones gain nothing, and keep others waiting.
const BYTES_REQUEST_MAX: usize = 2 << 20;

/// Bytes of memory that a disk needs.
pub const BYTES_MEMORY: usize = BYTES_QUEUE;

/// The disk.
pub struct Block<T> {
    transport: T,
    clock: Clock,
    queue: Queue,
    n_sector: u64,
    bytes_block: u32,
    bytes_request_max: usize,
}

impl<T: Transport> Block<T> {
    /// Brings the device up, with [`BYTES_MEMORY`] bytes of memory.
    ///
    /// # Errors
    ///
    /// If it does not come up, or is not as it should be.
    pub fn new(mut transport: T, memory: Shared, clock: Clock) -> Result<Block<T>, DeviceError> {
        // Its size is that of the queue, which is known only when the device is up.
        let features = negotiate(&mut transport, clock, SIZE_MAX | BLOCK_SIZE)?;
        let n_entry = transport.queue_size_max(0).min(N_ENTRY_MAX);
        if !n_entry.is_power_of_two() || n_entry < 4 {
            return Err(DeviceError::Nonsense { what: "the size of a queue", got: n_entry.into() });
        }
        let size_max = if features & SIZE_MAX != 0 { transport.configuration(8) as usize } else { usize::MAX };
        let bytes_block = if features & BLOCK_SIZE != 0 { transport.configuration(20) } else { BYTES_SECTOR };
        if !bytes_block.is_power_of_two() || !(BYTES_SECTOR..=4096).contains(&bytes_block) {
            return Err(DeviceError::Unsupported { what: "blocks of 512 to 4096 bytes", got: bytes_block.into() });
        }
        if size_max < 4096 {
            return Err(DeviceError::Unsupported { what: "segments of 4096 bytes", got: size_max as u64 });
        }
        let n_sector = transport.capacity();
        let mut block = Block {
            transport,
            clock,
            queue: Queue::new(memory, n_entry),
            n_sector,
            bytes_block,
            bytes_request_max: BYTES_REQUEST_MAX.min(size_max / 4096 * 4096),
        };
        block.start()?;
        Ok(block)
    }

    fn start(&mut self) -> Result<(), DeviceError> {
        self.transport.set_queue(0, self.queue.n_entry(), self.queue.addresses())?;
        self.transport.set_status(status::UP);
        Ok(())
    }
}

impl<T: Transport> Driver for Block<T> {
    fn bytes_sector(&self) -> u32 {
        self.bytes_block
    }

    fn n_sector(&self) -> u64 {
        self.n_sector / u64::from(self.bytes_block / BYTES_SECTOR)
    }

    fn bytes_request_max(&self) -> usize {
        self.bytes_request_max
    }

    fn n_request_max(&self) -> usize {
        self.queue.n_slot().min(N_REQUEST)
    }

    unsafe fn submit(&mut self, slot: usize, sector: u64, to: *mut u8, n_byte: usize) {
        let sector = sector * u64::from(self.bytes_block / BYTES_SECTOR);
        self.queue.push_read(slot, sector, to as u64, n_byte as u32);
    }

    fn kick(&mut self) {
        if self.queue.publish() {
            self.transport.notify(0);
        }
    }

    fn poll(&mut self) -> Result<Option<Ended>, DeviceError> {
        let ended = self.queue.pop()?;
        Ok(ended.map(|(slot, result)| Ended { slot, status: result.into() }))
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        negotiate(&mut self.transport, self.clock, SIZE_MAX | BLOCK_SIZE)?;
        if self.transport.status() & status::NEEDS_RESET != 0 {
            return Err(DeviceError::Failed { what: "a reset", status: self.transport.status().into() });
        }
        self.queue.clear();
        self.start()
    }
}
