//! Virtio over PCI (section 4.1): where the parts of the registers are is in capabilities of the device.

use super::Transport;
use crate::device::{DeviceError, Registers};
use crate::pci::{Device, Space};

const VENDOR: u16 = 0x1af4;
/// The modern block device, and the one that also speaks the old interface.
const BLOCK_DEVICES: [u16; 2] = [0x1042, 0x1001];

/// Kinds of capability.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// Whether a device is a virtio disk.
pub fn is_block(device: &Device) -> bool {
    device.vendor == VENDOR && BLOCK_DEVICES.contains(&device.id)
}

/// The registers of a device.
pub struct Pci<R> {
    common: R,
    notify: R,
    device: R,
    /// Where in `notify` queue 0 is notified.
    notify_offset: usize,
    /// Bytes between the places of two queues.
    notify_multiplier: u32,
}

impl<R: Registers> Pci<R> {
    /// Finds the parts of the registers. `map(address, n_byte)` makes them accessible.
    ///
    /// # Errors
    ///
    /// If the device has not the modern interface.
    pub fn new(space: &impl Space, device: &Device, mut map: impl FnMut(u64, u64) -> R) -> Result<Pci<R>, DeviceError> {
        const VENDOR_SPECIFIC: u8 = 9;
        let mut found: [Option<R>; 3] = [None, None, None];
        let mut notify_multiplier = 0;
        for capability in device.capabilities(space).filter(|capability| capability.id == VENDOR_SPECIFIC) {
            let read = |offset| space.read(device.address, capability.offset + offset);
            let kind = (read(0) >> 24) as u8;
            let place = [COMMON, NOTIFY, DEVICE].iter().position(|&wanted| wanted == kind);
            let (bar, offset, n_byte) = (read(4) as u8, read(8), read(12));
            // The first of a kind is the one that the device prefers; those behind ports are not for us.
            let (Some(place), Some(base)) = (place, device.memory_bar(space, bar)) else { continue };
            if found[place].is_none() {
                found[place] = Some(map(base + u64::from(offset), n_byte.into()));
                if kind == NOTIFY {
                    notify_multiplier = read(16);
                }
            }
        }
        match found {
            [Some(common), Some(notify), Some(device)] => {
                Ok(Pci { common, notify, device, notify_offset: 0, notify_multiplier })
            }
            _ => Err(DeviceError::Unsupported {
                what: "a virtio device with the modern interface",
                got: device.id.into(),
            }),
        }
    }
}

impl<R: Registers> Transport for Pci<R> {
    fn status(&self) -> u8 {
        self.common.read_u8(0x14)
    }

    fn set_status(&mut self, status: u8) {
        self.common.write_u8(0x14, status);
    }

    fn features(&mut self, word: u32) -> u32 {
        self.common.write_u32(0x00, word);
        self.common.read_u32(0x04)
    }

    fn accept_features(&mut self, word: u32, features: u32) {
        self.common.write_u32(0x08, word);
        self.common.write_u32(0x0c, features);
    }

    fn queue_size_max(&mut self) -> u16 {
        self.common.write_u16(0x16, 0);
        self.common.read_u16(0x18)
    }

    fn set_queue(&mut self, n: u16, descriptors: u64, available: u64, used: u64) {
        const NO_VECTOR: u16 = 0xffff;
        self.common.write_u16(0x16, 0);
        self.common.write_u16(0x18, n);
        self.common.write_u16(0x1a, NO_VECTOR);
        for (register, address) in [(0x20, descriptors), (0x28, available), (0x30, used)] {
            self.common.write_u64(register, address);
        }
        self.notify_offset = usize::from(self.common.read_u16(0x1e)) * self.notify_multiplier as usize;
        self.common.write_u16(0x1c, 1);
    }

    fn notify(&mut self) {
        self.notify.write_u16(self.notify_offset, 0);
    }

    fn configuration(&self, offset: usize) -> u32 {
        self.device.read_u32(offset)
    }
}
