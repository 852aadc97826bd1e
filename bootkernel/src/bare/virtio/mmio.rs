//! Virtio over registers in memory (section 4.2.2), as microvm has it; devices are named on the command line.

use super::{Kind, Transport};
use crate::boot::Range;
use crate::device::{DeviceError, Registers};

/// Bytes of a device's registers, with all of its configuration that is read.
pub const BYTES_MMIO: u64 = 0x200;

const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;

/// Reads `virtio_mmio.device=<bytes>@<address>:<interrupt>[:<id>]`, as QEMU writes it and Linux reads it; numbers may have the
/// suffix K, M or G.
pub fn parse_mmio(value: &[u8]) -> Option<Range> {
    let (n_byte, rest) = str::from_utf8(value).ok()?.split_once('@')?;
    let (address, interrupt) = rest.split_once(':')?;
    interrupt.split(':').try_for_each(|text| text.parse::<u32>().map(drop)).ok()?;
    let range = Range::sized(number(address)?, number(n_byte)?)?;
    (range.bytes() >= BYTES_MMIO && range.start.is_multiple_of(4)).then_some(range)
}

fn number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The registers of a device.
pub struct Mmio<R>(R);

impl<R: Registers> Mmio<R> {
    /// The device behind these registers, or `None` for one that there is no driver for, or none.
    ///
    /// # Errors
    ///
    /// If it is one of the old interface.
    pub fn find(registers: R) -> Result<Option<(Kind, Mmio<R>)>, DeviceError> {
        if registers.read_u32(0x00) != MAGIC {
            return Ok(None);
        }
        let id = registers.read_u32(0x08);
        let Some(kind) = [Kind::Block, Kind::Console].into_iter().find(|&kind| kind as u32 == id) else {
            return Ok(None);
        };
        let version = registers.read_u32(0x04);
        if version != VERSION {
            return Err(DeviceError::Unsupported {
                what: "virtio-mmio version 2 (for QEMU: -global virtio-mmio.force-legacy=false)",
                got: version.into(),
            });
        }
        Ok(Some((kind, Mmio(registers))))
    }
}

impl<R: Registers> Transport for Mmio<R> {
    fn status(&self) -> u8 {
        self.0.read_u32(0x70) as u8
    }

    fn set_status(&mut self, status: u8) {
        self.0.write_u32(0x70, status.into());
    }

    fn features(&mut self, word: u32) -> u32 {
        self.0.write_u32(0x14, word);
        self.0.read_u32(0x10)
    }

    fn accept_features(&mut self, word: u32, features: u32) {
        self.0.write_u32(0x24, word);
        self.0.write_u32(0x20, features);
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.0.write_u32(0x30, queue.into());
        self.0.read_u32(0x34).min(1 << 15) as u16
    }

    fn set_queue(&mut self, queue: u16, n: u16, parts: [u64; 3]) -> Result<(), DeviceError> {
        self.0.write_u32(0x30, queue.into());
        self.0.write_u32(0x38, n.into());
        for (register, address) in [0x80, 0x90, 0xa0].into_iter().zip(parts) {
            self.0.write_u64(register, address);
        }
        self.0.write_u32(0x44, 1);
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        self.0.write_u32(0x50, queue.into());
    }

    fn configuration(&self, offset: usize) -> u32 {
        self.0.read_u32(0x100 + offset)
    }
}
