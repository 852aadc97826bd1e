//! The virtio driver against a device made of the specification, which can also do what no device should.

use super::*;
use crate::device::Registers;
use crate::device::disk::{Disk, Driver};
use crate::testing::{Random, clock, shared};
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

/// What the device does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    /// Takes requests and never ends them.
    Hangs,
    /// Ends each with an error.
    Fails,
    /// Says that more is done than was asked for.
    RunsAhead,
    /// Names a descriptor that does not exist.
    WildDescriptor,
    /// Ends requests without writing their result.
    NoResult,
    /// Does not come back from a reset.
    NoReset,
    /// Does not agree on features.
    NoFeatures,
    /// Speaks only the old interface.
    Old,
}

struct State {
    vice: Vice,
    status: u32,
    feature_word: u32,
    queue: [u64; 3],
    n_entry: u32,
    seen: u16,
    used: u16,
    n_read: usize,
}

/// The device: its registers, and the disk behind them, whose sector s is filled with the low byte of s.
#[derive(Clone)]
struct Fake(Rc<RefCell<State>>);

impl Fake {
    fn new(vice: Vice) -> Fake {
        Fake(Rc::new(RefCell::new(State {
            vice,
            status: 0,
            feature_word: 0,
            queue: [0; 3],
            n_entry: 0,
            seen: 0,
            used: 0,
            n_read: 0,
        })))
    }

    /// Works through what is new in the available ring.
    fn work(&self) {
        let mut state = self.0.borrow_mut();
        let [descriptors, available, used] = state.queue;
        let n = state.n_entry as u16;
        // SAFETY: the driver's queue, which it has described to the device.
        unsafe {
            let end = *((available + 2) as *const u16);
            while state.seen != end {
                let head = *((available + 4 + 2 * u64::from(state.seen % n)) as *const u16);
                state.seen = state.seen.wrapping_add(1);
                if state.vice == Vice::Hangs {
                    continue;
                }
                let descriptor = |i: u16| {
                    let at = (descriptors + 16 * u64::from(i)) as *const u64;
                    let word = *at.add(1);
                    (*at, word as u32, (word >> 32) as u16, (word >> 48) as u16)
                };
                let (what, n_what, flags, data) = descriptor(head);
                assert_eq!((n_what, flags), (16, 1), "a head that the device reads");
                let (to, n_byte, flags, result) = descriptor(data);
                assert_eq!(flags, 3, "data that the device writes");
                let (result, n_result, flags, _) = descriptor(result);
                assert_eq!((n_result, flags), (1, 2), "a result that the device writes");
                assert_eq!(*(what as *const u32), 0, "a read");
                let sector = *((what + 8) as *const u64);
                for i in 0..u64::from(n_byte) {
                    *((to + i) as *mut u8) = (sector + i / 512) as u8;
                }
                match state.vice {
                    Vice::Fails => *(result as *mut u8) = 1,
                    Vice::NoResult => {}
                    _ => *(result as *mut u8) = 0,
                }
                let entry = used + 4 + 8 * u64::from(state.used % n);
                *(entry as *mut u32) = if state.vice == Vice::WildDescriptor { 1000 } else { head.into() };
                state.used = state.used.wrapping_add(1);
                state.n_read += 1;
                let ahead = if state.vice == Vice::RunsAhead { 5 } else { 0 };
                *((used + 2) as *mut u16) = state.used.wrapping_add(ahead);
            }
        }
    }
}

impl Registers for Fake {
    fn read_u8(&self, _: usize) -> u8 {
        unreachable!("registers in memory have four bytes")
    }

    fn read_u16(&self, _: usize) -> u16 {
        unreachable!("registers in memory have four bytes")
    }

    fn write_u8(&self, _: usize, _: u8) {
        unreachable!("registers in memory have four bytes")
    }

    fn write_u16(&self, _: usize, _: u16) {
        unreachable!("registers in memory have four bytes")
    }

    fn read_u32(&self, offset: usize) -> u32 {
        let state = self.0.borrow();
        match offset {
            0x00 => 0x7472_6976,
            0x04 => {
                if state.vice == Vice::Old {
                    1
                } else {
                    2
                }
            }
            0x08 => 2,
            // Offers everything.
            0x10 => u32::MAX,
            0x34 => 64,
            0x70 => state.status,
            0x100 => 2048,
            0x104 => 0,
            0x108 => 8192 + 100,
            0x114 => 1024,
            _ => panic!("register {offset:#x} was read"),
        }
    }

    fn write_u32(&self, offset: usize, value: u32) {
        let mut state = self.0.borrow_mut();
        match offset {
            0x14 | 0x24 => state.feature_word = value,
            0x20 => assert_eq!(value, if state.feature_word == 0 { 1 << 1 | 1 << 6 } else { 3 }, "features accepted"),
            0x30 => assert_eq!(value, 0, "queue 0"),
            0x38 => state.n_entry = value,
            0x44 => assert_eq!(value, 1),
            0x70 if value == 0 => {
                state.status = if state.vice == Vice::NoReset { 1 } else { 0 };
                (state.seen, state.used) = (0, 0);
            }
            0x70 => state.status = if state.vice == Vice::NoFeatures { value & !8 } else { value },
            0x80 | 0x84 | 0x90 | 0x94 | 0xa0 | 0xa4 => {
                let place = &mut state.queue[(offset - 0x80) / 16];
                let shift = offset % 16 * 8;
                *place = *place & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            0x50 => {
                drop(state);
                self.work();
            }
            _ => panic!("register {offset:#x} was written"),
        }
    }
}

fn bring_up(fake: &Fake) -> Result<Block<Mmio<Fake>>, DeviceError> {
    let (kind, transport) = Mmio::find(fake.clone())?.expect("a disk");
    assert_eq!(kind, Kind::Block);
    Block::new(transport, shared(BYTES_MEMORY), clock)
}

/// Room for reads, aligned as drivers want it.
fn room() -> *mut u8 {
    let memory = shared(64 * 8192);
    memory.address(0) as *mut u8
}

#[test]
fn reads_come_to_their_place_whatever_the_order() {
    let fake = Fake::new(Vice::None);
    let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
    assert_eq!((disk.bytes(), disk.driver().bytes_sector()), (1 << 20, 1024));
    // The largest segment, in whole pages.
    assert_eq!(disk.driver().bytes_request_max(), 8192);
    assert_eq!(disk.driver().n_request_max(), 21);
    let room = room();
    let mut random = Random(7);
    let mut free: Vec<usize> = (0..21).collect();
    let mut asked = [0u64; 21];
    let (mut n_asked, mut n_done) = (0, 0);
    while n_done < 2000 {
        while n_asked < 2000 && !free.is_empty() && random.below(3) > 0 {
            let slot = free.swap_remove(random.below(free.len() as u64) as usize);
            asked[slot] = random.below(1000) * 1024;
            // SAFETY: each slot has 8192 bytes of its own.
            assert!(unsafe { disk.submit(slot as u64, asked[slot], room.wrapping_add(slot * 8192), 4096) });
            n_asked += 1;
        }
        while let Some((slot, result)) = disk.poll() {
            assert_eq!(result, Ok(4096));
            let slot = slot as usize;
            // SAFETY: the read has ended.
            let bytes = unsafe { core::slice::from_raw_parts(room.wrapping_add(slot * 8192), 4096) };
            assert!(bytes.iter().enumerate().all(|(i, &byte)| byte == (asked[slot] / 512 + i as u64 / 512) as u8));
            free.push(slot);
            n_done += 1;
        }
    }
    assert_eq!(disk.n_trouble(), (0, 0));
}

#[test]
fn every_vice_is_one_clear_error() {
    for vice in [Vice::Hangs, Vice::Fails, Vice::RunsAhead, Vice::WildDescriptor, Vice::NoResult] {
        let fake = Fake::new(vice);
        let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
        // SAFETY: the room is as long as the read.
        assert!(unsafe { disk.submit(1, 0, room(), 4096) });
        let fault = (0..5000).find_map(|_| disk.poll()).expect("it ends").1.expect_err("it fails");
        let expected = match vice {
            Vice::Hangs => matches!(fault.error, DeviceError::TimedOut { .. }),
            Vice::Fails => fault.error == DeviceError::Failed { what: "a read", status: 1 },
            _ => matches!(fault.error, DeviceError::Nonsense { .. }),
        };
        assert!(expected, "{vice:?}: {fault:?}");
        assert!(fake.0.borrow().n_read <= 2, "tried once and once more");
    }
}

#[test]
fn a_device_that_gets_well_is_used() {
    for vice in [Vice::Hangs, Vice::RunsAhead, Vice::WildDescriptor, Vice::NoResult] {
        let fake = Fake::new(vice);
        let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
        // SAFETY: the room is as long as the read.
        assert!(unsafe { disk.submit(1, 1024, room(), 4096) });
        assert_eq!(disk.poll().filter(|_| vice == Vice::Hangs), None);
        fake.0.borrow_mut().vice = Vice::None;
        if let Some((_, result)) = (0..5000).find_map(|_| disk.poll()) {
            assert_eq!(result, Ok(4096), "{vice:?}");
            assert_eq!(disk.n_trouble().0, 1);
        }
    }
}

#[test]
fn devices_that_do_not_come_up() {
    let errors = [
        (Vice::NoReset, "no reset of a virtio device within 300 ms; the device hangs"),
        (Vice::NoFeatures, "expected no other virtio features than version 1"),
        (Vice::Old, "expected virtio-mmio version 2"),
    ];
    for (vice, expected) in errors {
        let error = bring_up(&Fake::new(vice)).err().expect("it does not come up");
        assert!(std::format!("{error}").starts_with(expected), "{error}");
    }
}

#[test]
fn devices_on_a_command_line() {
    use crate::boot::Range;
    let cases = [
        ("512@0xfeb00e00:12", Range::sized(0xfeb0_0e00, 512)),
        ("4K@0xd0000000:5:1", Range::sized(0xd000_0000, 4096)),
        ("1M@1048576:5", Range::sized(1 << 20, 1 << 20)),
        ("512@0xfeb00e00", None),
        ("@:", None),
        ("x@y:z", None),
        ("99999999999G@0:1", None),
        ("1G@0xfffffffffffffffc:1", None),
        ("511@0xfeb00e00:12", None),
        ("512@0xfeb00e02:12", None),
        ("512@0xfeb00e00:", None),
        ("512@0xfeb00e00:12:x", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_mmio(text.as_bytes()), expected, "{text}");
    }
}
