use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::vec::Vec;

type Register = (u32, u32);

/// Configuration space of some functions; registers that can be written keep the bits of their mask.
struct Fake {
    /// By place and offset: the value, and the bits that can be written.
    registers: RefCell<BTreeMap<(u8, u8, u8, u16), Register>>,
    first: core::ops::RangeInclusive<u8>,
}

impl Fake {
    fn new() -> Fake {
        Fake { registers: RefCell::new(BTreeMap::new()), first: 0..=0 }
    }

    fn set(&self, (bus, device, function): (u8, u8, u8), offset: u16, value: u32, mask: u32) {
        self.registers.borrow_mut().insert((bus, device, function, offset), (value, mask));
    }

    fn add(&self, place: (u8, u8, u8), id: u32, class: u32, header: u8) {
        self.set(place, 0, id, 0);
        self.set(place, 4, 1 << 20, 0xffff);
        self.set(place, 8, class << 8, 0);
        self.set(place, 0xc, u32::from(header) << 16, 0);
        for offset in (0x10..0x40).step_by(4) {
            self.set(place, offset, 0, 0);
        }
    }
}

impl Space for Fake {
    fn read(&self, Address { bus, device, function }: Address, offset: u16) -> u32 {
        self.registers.borrow().get(&(bus, device, function, offset)).map_or(u32::MAX, |register| register.0)
    }

    fn write(&self, Address { bus, device, function }: Address, offset: u16, value: u32) {
        if let Some((old, mask)) = self.registers.borrow_mut().get_mut(&(bus, device, function, offset)) {
            *old = *old & !*mask | value & *mask;
        }
    }

    fn buses(&self) -> core::ops::RangeInclusive<u8> {
        self.first.clone()
    }
}

fn found(space: &Fake) -> Vec<(u8, u8, u8)> {
    let mut found = Vec::new();
    scan(space, |device| found.push((device.address.bus, device.address.device, device.address.function)));
    found
}

#[test]
fn devices_behind_bridges_and_with_many_functions() {
    let space = Fake::new();
    space.add((0, 0, 0), 0x1111_8086, 0x06_00_00, 0);
    space.add((0, 2, 0), 0x2222_8086, 0x02_00_00, 0x80);
    space.add((0, 2, 5), 0x2223_8086, 0x02_00_00, 0);
    space.add((0, 3, 0), 0x3333_8086, 0x06_04_00, 1); // a bridge to bus 7
    space.set((0, 3, 0), 0x18, 0x0007_0700, 0);
    space.add((7, 0, 0), 0x4444_8086, 0x01_08_02, 0);
    space.add((7, 1, 0), 0x5555_8086, 0x06_04_00, 1); // a bridge that nobody has set up
    space.add((8, 0, 0), 0x6666_8086, 0, 0); // where no bridge leads
    space.add((0, 4, 1), 0x7777_8086, 0, 0); // without a first function
    assert_eq!(found(&space), [(0, 0, 0), (0, 2, 0), (0, 2, 5), (7, 0, 0)]);
    let everywhere = Fake { first: 0..=255, ..space };
    assert_eq!(found(&everywhere).last(), Some(&(8, 0, 0)));
}

fn device(space: &Fake) -> Device {
    let mut device = None;
    scan(space, |found| device = Some(found));
    device.unwrap()
}

#[test]
fn registers_are_placed_where_firmware_has_not() {
    let space = Fake::new();
    space.add((0, 1, 0), 0x1042_1af4, 0x01_00_00, 0);
    let place = (0, 1, 0);
    space.set(place, 0x10, 1, 0xffff_ffe0); // ports
    space.set(place, 0x14, 0, 0xffff_f000); // 4 KiB of memory
    space.set(place, 0x18, 0x0000_000c, 0xffff_c000); // 16 KiB, 64-bit, prefetchable
    space.set(place, 0x1c, 0, 0xffff_ffff);
    space.set(place, 0x20, 0xfe00_0000, 0xffff_0000); // placed already
    let device = device(&space);
    assert_eq!(
        [0, 1, 2, 4, 5, 6].map(|bar| device.memory_bar(&space, bar)),
        [None, None, None, Some(0xfe00_0000), None, None]
    );
    assert_eq!(device.place(&space, 0xc000_0800, 0xd000_0000), Some(0xc000_8000));
    assert_eq!(
        [1, 2, 4].map(|bar| device.memory_bar(&space, bar)),
        [Some(0xc000_1000), Some(0xc000_4000), Some(0xfe00_0000)]
    );
    assert_eq!(space.read(device.address, 0x18), 0xc000_400c, "the kind is as it was");
    assert_eq!(device.place(&space, 0xc100_0000, 0xd000_0000), Some(0xc100_0000), "nothing is placed twice");
    device.enable(&space);
    assert_eq!(space.read(device.address, 4), 1 << 20 | 6);
}

#[test]
fn registers_without_room_are_not_placed() {
    let space = Fake::new();
    space.add((0, 1, 0), 0x1042_1af4, 0x01_00_00, 0);
    space.set((0, 1, 0), 0x10, 0, 0xfff0_0000);
    let device = device(&space);
    assert_eq!(device.place(&space, 0xc000_1000, 0xc010_0000), None);
    assert_eq!(device.place(&space, u64::MAX - 5, u64::MAX), None);
    assert_eq!(device.memory_bar(&space, 0), None);
}

#[test]
fn a_list_of_capabilities_that_runs_in_a_circle_ends() {
    let space = Fake::new();
    space.add((0, 1, 0), 0x1042_1af4, 0x01_00_00, 0);
    space.set((0, 1, 0), 0x34, 0x40, 0);
    space.set((0, 1, 0), 0x40, 0x0000_5009, 0);
    space.set((0, 1, 0), 0x50, 0x0000_4011, 0);
    let device = device(&space);
    assert!(device.capabilities(&space).count() < 100);
    let first: Vec<Capability> = device.capabilities(&space).take(2).collect();
    assert_eq!(first, [Capability { id: 9, offset: 0x40 }, Capability { id: 0x11, offset: 0x50 }]);
    space.set((0, 1, 0), 0x50, 0x0000_0011, 0);
    assert_eq!(device.capabilities(&space).count(), 2);
    space.set((0, 1, 0), 0x04, 0, 0);
    assert_eq!(device.capabilities(&space).count(), 0, "none are announced");
}
