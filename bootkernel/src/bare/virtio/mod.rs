//! Virtio 1.0 block devices (OASIS virtio 1.2, sections 2, 4.1, 4.2 and 5.2), the modern interface only.

mod block;
mod mmio;
mod pci;
mod queue;

pub use self::block::{BYTES_MEMORY, Block};
pub use self::mmio::{Mmio, parse_mmio};
pub use self::pci::{Pci, is_block};

use crate::device::DeviceError;

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
    /// Most entries of queue 0.
    fn queue_size_max(&mut self) -> u16;
    /// Sets queue 0 up, with its three parts at these addresses, and switches it on.
    fn set_queue(&mut self, n: u16, descriptors: u64, available: u64, used: u64);
    /// Says that queue 0 has something new.
    fn notify(&mut self);
    /// Reads four bytes of the block device's own configuration.
    fn configuration(&self, offset: usize) -> u32;

    /// The capacity in sectors of 512 bytes.
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

/// Steps of bringing a device up, in its status.
mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const NEEDS_RESET: u8 = 64;
}

/// How long a device may take to reset.
const RESET_US: u64 = 300_000;

/// Resets a device and agrees on features: those of `wanted` that it has, and version 1 in any case.
fn negotiate(transport: &mut impl Transport, clock: crate::device::Clock, wanted: u32) -> Result<u32, DeviceError> {
    const VERSION_1: u32 = 1; // feature 32
    transport.set_status(0);
    crate::device::wait(clock, RESET_US, "reset of a virtio device", || transport.status() == 0)?;
    transport.set_status(status::ACKNOWLEDGE);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
    let (low, high) = (transport.features(0) & wanted, transport.features(1));
    if high & VERSION_1 == 0 {
        return Err(DeviceError::Unsupported { what: "virtio version 1", got: high.into() });
    }
    transport.accept_features(0, low);
    transport.accept_features(1, VERSION_1);
    let chosen = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
    transport.set_status(chosen);
    if transport.status() & status::FEATURES_OK == 0 {
        return Err(DeviceError::Unsupported { what: "no other virtio features than version 1", got: low.into() });
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
