//! Virtio 1.0 disks and serial ports (OASIS virtio 1.2, sections 2, 4.1, 4.2, 5.2 and 5.3), the modern interface only.

mod block;
mod buffers;
mod console;
mod mmio;
mod pci;
mod queue;
mod rings;

pub use self::block::{BYTES_MEMORY, Block};
pub use self::console::{BYTES_CONSOLE_MEMORY, BYTES_SENT_MAX, Console};
pub use self::mmio::{BYTES_MMIO, Mmio, parse_mmio};
pub use self::pci::{Pci, kind_of};

use crate::device::DeviceError;

/// Most queues of a device.
pub const N_QUEUE: usize = 6;

/// How a device is reached: the same steps over different registers.
pub trait Transport {
    /// Reads the device status.
    fn status(&self) -> u8;
    /// Writes it; 0 resets.
    fn set_status(&mut self, status: u8);
    /// Reads 32 of the features that it offers.
    fn features(&mut self, word: u32) -> u32;
    /// Accepts 32 features.
    fn accept_features(&mut self, word: u32, features: u32);
    /// Most entries of a queue, which is below [`N_QUEUE`].
    fn queue_size_max(&mut self, queue: u16) -> u16;
    /// Sets a queue of `n` entries up, with descriptors, available and used ring at these addresses, and switches it on.
    ///
    /// # Errors
    ///
    /// If the device says of the queue what cannot be.
    fn set_queue(&mut self, queue: u16, n: u16, parts: [u64; 3]) -> Result<(), DeviceError>;
    /// Says that a queue has something new.
    fn notify(&mut self, queue: u16);
    /// Reads four bytes of the device's own configuration.
    fn configuration(&self, offset: usize) -> u32;

    /// The capacity of a disk in sectors of 512 bytes.
    fn capacity(&self) -> u64 {
        // Read until nothing has changed in between.
        loop {
            let (low, high) = (self.configuration(0), self.configuration(4));
            if self.configuration(0) == low {
                return u64::from(low) | u64::from(high) << 32;
            }
        }
    }
}

impl<T: Transport + ?Sized> Transport for alloc::boxed::Box<T> {
    fn status(&self) -> u8 {
        (**self).status()
    }

    fn set_status(&mut self, status: u8) {
        (**self).set_status(status);
    }

    fn features(&mut self, word: u32) -> u32 {
        (**self).features(word)
    }

    fn accept_features(&mut self, word: u32, features: u32) {
        (**self).accept_features(word, features);
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        (**self).queue_size_max(queue)
    }

    fn set_queue(&mut self, queue: u16, n: u16, parts: [u64; 3]) -> Result<(), DeviceError> {
        (**self).set_queue(queue, n, parts)
    }

    fn notify(&mut self, queue: u16) {
        (**self).notify(queue);
    }

    fn configuration(&self, offset: usize) -> u32 {
        (**self).configuration(offset)
    }
}

/// Kinds of device that there are drivers for, with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A disk.
    Block = 2,
    /// A serial port.
    Console = 3,
}

/// Steps of bringing a device up, in its status.
mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
    pub const UP: u8 = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

/// How long a device may take to reset.
const RESET_US: u64 = 300_000;

/// Resets a device and agrees on features: those of `wanted` that it has, and version 1 in any case.
fn negotiate(transport: &mut impl Transport, clock: crate::device::Clock, wanted: u32) -> Result<u32, DeviceError> {
    const VERSION_1: u32 = 1; // feature 32
    // Feature 33: the device is behind the platform's IOMMU, where there is one. Nobody has switched that on.
    const ACCESS_PLATFORM: u32 = 2;
    transport.set_status(0);
    crate::device::wait(clock, RESET_US, "reset of a virtio device", || transport.status() == 0)?;
    transport.set_status(status::ACKNOWLEDGE);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let (low, high) = (transport.features(0) & wanted, transport.features(1));
    if high & VERSION_1 == 0 {
        return Err(DeviceError::Unsupported { what: "virtio version 1", got: high.into() });
    }
    transport.accept_features(0, low);
    transport.accept_features(1, high & (VERSION_1 | ACCESS_PLATFORM));
    let chosen = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
    transport.set_status(chosen);
    if transport.status() & status::FEATURES_OK == 0 {
        return Err(DeviceError::Unsupported { what: "no other virtio features than version 1", got: low.into() });
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
