//! Virtio over PCI (section 4.1): where the parts of the registers are is in capabilities of the device.

use super::{Kind, N_QUEUE, Transport};
use crate::device::{DeviceError, Registers};
use crate::pci::{Device, Space};

const VENDOR: u16 = 0x1af4;
/// Of each kind the modern device, and the one that also speaks the old interface.
const DEVICES: [(Kind, [u16; 2]); 2] = [(Kind::Block, [0x1042, 0x1001]), (Kind::Console, [0x1043, 0x1003])];

/// Kinds of capability.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// What virtio device it is, if it is one that there is a driver for.
pub fn kind_of(device: &Device) -> Option<Kind> {
    let (kind, _) = DEVICES.into_iter().find(|(_, ids)| device.vendor == VENDOR && ids.contains(&device.id))?;
    Some(kind)
}

/// The registers of a device.
pub struct Pci<R> {
    common: R,
    notify: R,
    device: R,
    /// Where in `notify` each queue is notified.
    notify_offset: [usize; N_QUEUE],
    /// Bytes between the places of two queues.
    notify_multiplier: u32,
    /// Bytes of `notify`.
    bytes_notify: usize,
}

impl<R: Registers> Pci<R> {
    /// Finds the parts of the registers. `map(address, n_byte)` makes them accessible, where they can be.
    ///
    /// # Errors
    ///
    /// If the device has not the modern interface; what `map` says.
    pub fn new(
        space: &impl Space,
        device: &Device,
        mut map: impl FnMut(u64, u64) -> Result<R, DeviceError>,
    ) -> Result<Pci<R>, DeviceError> {
        const VENDOR_SPECIFIC: u8 = 9;
        /// More than is read of any part, whatever the device says of its length.
        const BYTES_LEAST: u64 = 0x100;
        let mut found: [Option<R>; 3] = [None, None, None];
        let (mut notify_multiplier, mut bytes_notify) = (0, 0);
        for capability in device.capabilities(space).filter(|capability| capability.id == VENDOR_SPECIFIC) {
            let read = |offset| space.read(device.address, capability.offset + offset);
            let kind = (read(0) >> 24) as u8;
            let place = [COMMON, NOTIFY, DEVICE].iter().position(|&wanted| wanted == kind);
            let (bar, offset, n_byte) = (read(4) as u8, read(8), read(12));
            // The first of a kind is the one that the device prefers; those behind ports are not for us.
            let (Some(place), Some(base)) = (place, device.memory_bar(space, bar)) else { continue };
            if found[place].is_none() {
                found[place] = Some(map(base.saturating_add(offset.into()), u64::from(n_byte).max(BYTES_LEAST))?);
                if kind == NOTIFY {
                    (notify_multiplier, bytes_notify) = (read(16), n_byte as usize);
                }
            }
        }
        match found {
            [Some(common), Some(notify), Some(device)] => {
                Ok(Pci { common, notify, device, notify_offset: [0; N_QUEUE], notify_multiplier, bytes_notify })
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

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.common.write_u16(0x16, queue);
        self.common.read_u16(0x18)
    }

    fn set_queue(&mut self, queue: u16, n: u16, parts: [u64; 3]) -> Result<(), DeviceError> {
        const NO_VECTOR: u16 = 0xffff;
        self.common.write_u16(0x16, queue);
        self.common.write_u16(0x18, n);
        self.common.write_u16(0x1a, NO_VECTOR);
        for (register, address) in [0x20, 0x28, 0x30].into_iter().zip(parts) {
            self.common.write_u64(register, address);
        }
        let offset = usize::from(self.common.read_u16(0x1e)) * self.notify_multiplier as usize;
        if offset + size_of::<u16>() > self.bytes_notify {
            return Err(DeviceError::Nonsense { what: "the place to notify a queue at", got: offset as u64 });
        }
        self.notify_offset[usize::from(queue)] = offset;
        self.common.write_u16(0x1c, 1);
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        self.notify.write_u16(self.notify_offset[usize::from(queue)], queue);
    }

    fn configuration(&self, offset: usize) -> u32 {
        self.device.read_u32(offset)
    }
}

#[cfg(test)]
mod tests;
