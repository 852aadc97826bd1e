use super::*;
use crate::pci::Address;
use std::cell::RefCell;
use std::vec::Vec;

const BASE: u64 = 0xd000_0000;
const BYTES_NOTIFY: u32 = 16;
const MULTIPLIER: u32 = 4;

/// Configuration space of one device, with a capability for each part of its registers: a page each.
struct Configuration;

impl Space for Configuration {
    fn read(&self, _: Address, offset: u16) -> u32 {
        let part = |place: u32, kind: u8, next: u32| match offset as u32 - place {
            0 => 9 | next << 8 | u32::from(kind) << 24,
            8 => u32::from(kind) << 12,
            12 if kind == NOTIFY => BYTES_NOTIFY,
            16 => MULTIPLIER,
            _ => 0,
        };
        match offset {
            0x04 => 1 << 20,
            0x10 => BASE as u32,
            0x34 => 0x40,
            0x40..0x60 => part(0x40, COMMON, 0x60),
            0x60..0x80 => part(0x60, NOTIFY, 0x80),
            0x80..0xa0 => part(0x80, DEVICE, 0),
            _ => 0,
        }
    }

    fn write(&self, _: Address, offset: u16, _: u32) {
        panic!("{offset:#x} was written")
    }

    fn buses(&self) -> core::ops::RangeInclusive<u8> {
        0..=0
    }
}

/// Registers that say of every queue that it is notified at that multiple.
struct Part {
    at: u16,
    n_byte: u64,
    written: RefCell<Vec<(usize, u32)>>,
}

impl Registers for Part {
    fn read_u8(&self, _: usize) -> u8 {
        0
    }

    fn read_u16(&self, offset: usize) -> u16 {
        if offset == 0x1e { self.at } else { 0 }
    }

    fn read_u32(&self, _: usize) -> u32 {
        0
    }

    fn write_u8(&self, offset: usize, value: u8) {
        self.write_u32(offset, value.into());
    }

    fn write_u16(&self, offset: usize, value: u16) {
        self.write_u32(offset, value.into());
    }

    fn write_u32(&self, offset: usize, value: u32) {
        assert!((offset as u64) < self.n_byte, "{offset:#x} is outside");
        self.written.borrow_mut().push((offset, value));
    }
}

fn device() -> Device {
    let address = Address { bus: 0, device: 1, function: 0 };
    Device { address, vendor: VENDOR, id: 0x1042, class: 0x01_00_00 }
}

#[test]
fn queues_are_notified_inside_of_the_registers_or_not_at_all() {
    for at in [0, 3, 4, 0xffff] {
        let mut mapped = Vec::new();
        let map = |address, n_byte| {
            mapped.push(address);
            Ok(Part { at, n_byte, written: RefCell::new(Vec::new()) })
        };
        let mut device = Pci::new(&Configuration, &device(), map).expect("a modern device");
        assert_eq!(mapped, [BASE + 0x1000, BASE + 0x2000, BASE + 0x4000]);
        let result = device.set_queue(1, 8, [0; 3]);
        if at < 4 {
            assert_eq!(result, Ok(()));
            device.notify(1);
            assert_eq!(*device.notify.written.borrow(), [(4 * usize::from(at), 1)]);
        } else {
            let what = "the place to notify a queue at";
            assert_eq!(result, Err(DeviceError::Nonsense { what, got: u64::from(at) * 4 }));
        }
    }
}

#[test]
fn registers_that_cannot_be_mapped_are_an_error() {
    let error = DeviceError::Nonsense { what: "the address of its registers", got: 1 };
    let result = Pci::<Part>::new(&Configuration, &device(), |_, _| Err(error));
    assert_eq!(result.err(), Some(error));
}
