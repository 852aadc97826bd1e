//! The NVMe driver against a controller made of the specification, which can also do what no controller should.

use super::command::describe_pages;
use super::*;
use crate::device::disk::{Disk, Driver};
use crate::device::{DeviceError, Registers};
use crate::testing::{Random, clock, shared};
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

/// What the controller does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    NeverReady,
    SaysThatItFailed,
    HangsAtReads,
    FailsReads,
    /// Completes a command that nobody gave.
    WildId,
    BigPages,
    Metadata,
    NoNamespace,
}

const N_SECTOR: u64 = 4096;
/// Doorbells are 4 bytes apart, shifted by this; most controllers say 0.
const STRIDE_SHIFT: u32 = 1;

struct State {
    vice: Vice,
    stride_shift: u32,
    /// The last byte that was read or written.
    furthest: usize,
    configuration: u32,
    queue_sizes: u32,
    addresses: [u64; 2],
    /// Submission and completion queue 1, with their entries.
    reads: [(u64, u64); 2],
    /// For each pair: the next command, the next completion, the phase.
    places: [(u64, u64, u32); 2],
    n_read: usize,
}

/// The controller, whose sector s is filled with the low byte of s.
#[derive(Clone)]
struct Fake(Rc<RefCell<State>>);

impl Fake {
    fn new(vice: Vice) -> Fake {
        Fake(Rc::new(RefCell::new(State {
            vice,
            stride_shift: STRIDE_SHIFT,
            furthest: 0,
            configuration: 0,
            queue_sizes: 0,
            addresses: [0; 2],
            reads: [(0, 0); 2],
            places: [(0, 0, 1); 2],
            n_read: 0,
        })))
    }

    fn work(&self, pair: usize, tail: u64) {
        let mut state = self.0.borrow_mut();
        let [(commands, n_command), (completions, n_completion)] = if pair == 0 {
            let n = u64::from(state.queue_sizes & 0xfff) + 1;
            [(state.addresses[0], n), (state.addresses[1], n)]
        } else {
            state.reads
        };
        assert!(tail < n_command, "the doorbell is inside the queue");
        while state.places[pair].0 != tail {
            // SAFETY: the driver's queue, which it has described to the controller.
            let command = unsafe { *((commands + 64 * state.places[pair].0) as *const [u32; 16]) };
            state.places[pair].0 = (state.places[pair].0 + 1) % n_command;
            let Some(status) =
                (if pair == 0 { Some(manage(&mut state, &command)) } else { read(&mut state, &command) })
            else {
                continue;
            };
            let (_, at, phase) = state.places[pair];
            let id = if pair == 1 && state.vice == Vice::WildId { 55 } else { command[0] >> 16 };
            // SAFETY: as above.
            unsafe { *((completions + 16 * at + 12) as *mut u32) = status << 17 | phase << 16 | id };
            let wraps = at + 1 == n_completion;
            state.places[pair].1 = if wraps { 0 } else { at + 1 };
            state.places[pair].2 = phase ^ u32::from(wraps);
        }
    }
}

fn address(command: &[u32; 16], word: usize) -> u64 {
    u64::from(command[word]) | u64::from(command[word + 1]) << 32
}

fn manage(state: &mut State, command: &[u32; 16]) -> u32 {
    let to = address(command, 6);
    let put = |offset: u64, bytes: &[u8]| {
        for (i, &byte) in bytes.iter().enumerate() {
            // SAFETY: a page of the driver.
            unsafe { *((to + offset + i as u64) as *mut u8) = byte };
        }
    };
    match command[0] & 0xff {
        6 if command[10] == 1 => put(77, &[2]), // 16 KiB at most
        6 if command[10] == 2 => put(0, &if state.vice == Vice::NoNamespace { 0u32 } else { 3 }.to_le_bytes()),
        6 => {
            assert_eq!(command[1], 3, "the namespace that was listed");
            put(0, &N_SECTOR.to_le_bytes());
            put(26, &[1]);
            let metadata = if state.vice == Vice::Metadata { 8 } else { 0 };
            put(132, &(metadata | 10u32 << 16).to_le_bytes()); // format 1: 1024 bytes
        }
        5 => state.reads[1] = (to, u64::from(command[10] >> 16) + 1),
        1 => state.reads[0] = (to, u64::from(command[10] >> 16) + 1),
        other => panic!("opcode {other}"),
    }
    0
}

fn read(state: &mut State, command: &[u32; 16]) -> Option<u32> {
    state.n_read += 1;
    if state.vice == Vice::HangsAtReads {
        return None;
    }
    assert_eq!((command[0] & 0xff, command[1]), (2, 3));
    let (sector, n_byte) = (address(command, 10), (u64::from(command[12] & 0xffff) + 1) * 1024);
    let n_page = n_byte.div_ceil(4096);
    for page in 0..n_page {
        let to = match page {
            0 => address(command, 6),
            1 if n_page == 2 => address(command, 8),
            // SAFETY: the list of the driver.
            _ => unsafe { *((address(command, 8) + 8 * (page - 1)) as *const u64) },
        };
        for i in 0..4096.min(n_byte - 4096 * page) {
            // SAFETY: a page that the driver named.
            unsafe { *((to + i) as *mut u8) = (sector + (4096 * page + i) / 1024) as u8 };
        }
    }
    Some(if state.vice == Vice::FailsReads { 0x281 } else { 0 })
}

impl Registers for Fake {
    fn read_u8(&self, _: usize) -> u8 {
        unreachable!("no register has one byte")
    }

    fn read_u16(&self, _: usize) -> u16 {
        unreachable!("no register has two bytes")
    }

    fn write_u8(&self, _: usize, _: u8) {
        unreachable!("no register has one byte")
    }

    fn write_u16(&self, _: usize, _: u16) {
        unreachable!("no register has two bytes")
    }

    fn read_u32(&self, offset: usize) -> u32 {
        let state = self.0.borrow();
        match offset {
            0x00 => 6 | 3 << 24, // queues of 7, ready within 1.5 s
            0x04 => state.stride_shift | if state.vice == Vice::BigPages { 2 << 16 } else { 0 },
            0x1c => match (state.configuration & 1, state.vice) {
                (1, Vice::NeverReady) => 0,
                (1, Vice::SaysThatItFailed) => 2,
                (on, _) => on,
            },
            _ => panic!("register {offset:#x} was read"),
        }
    }

    fn write_u32(&self, offset: usize, value: u32) {
        let mut state = self.0.borrow_mut();
        state.furthest = state.furthest.max(offset + 3);
        match offset {
            0x0c => assert_eq!(value, u32::MAX, "interrupts masked"),
            0x14 => {
                state.configuration = value;
                state.places = [(0, 0, 1); 2];
            }
            0x24 => state.queue_sizes = value,
            0x28 | 0x2c | 0x30 | 0x34 => {
                let place = &mut state.addresses[(offset - 0x28) / 8];
                let shift = offset % 8 * 8;
                *place = *place & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            _ => {
                let bell = (offset as u64).checked_sub(0x1000).expect("a doorbell") / (4 << state.stride_shift);
                if bell.is_multiple_of(2) {
                    drop(state);
                    self.work(bell as usize / 2, value.into());
                }
            }
        }
    }
}

fn bring_up(fake: &Fake) -> Result<Nvme<Fake>, DeviceError> {
    Nvme::new(fake.clone(), shared(BYTES_MEMORY), clock)
}

fn room() -> *mut u8 {
    shared(16 * 16384).address(0) as *mut u8
}

#[test]
fn reads_of_every_size_come_to_their_place() {
    let fake = Fake::new(Vice::None);
    let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
    assert_eq!((disk.bytes(), disk.driver().bytes_sector()), (N_SECTOR * 1024, 1024));
    assert_eq!((disk.driver().bytes_request_max(), disk.driver().n_request_max()), (16384, 6));
    let room = room();
    let mut random = Random(8);
    let mut free: Vec<usize> = (0..6).collect();
    let mut asked = [(0u64, 0usize); 6];
    let (mut n_asked, mut n_done) = (0, 0);
    while n_done < 2000 {
        while n_asked < 2000 && !free.is_empty() && random.below(3) > 0 {
            let slot = free.swap_remove(random.below(free.len() as u64) as usize);
            asked[slot] = (random.below(4000) * 1024, (1 + random.below(16) as usize) * 1024);
            // SAFETY: each slot has 16,384 bytes of its own.
            assert!(unsafe { disk.submit(slot as u64, asked[slot].0, room.wrapping_add(slot * 16384), asked[slot].1) });
            n_asked += 1;
        }
        while let Some((slot, result)) = disk.poll() {
            let slot = slot as usize;
            let (offset, n_byte) = asked[slot];
            assert_eq!(result, Ok(n_byte));
            // SAFETY: the read has ended.
            let bytes = unsafe { core::slice::from_raw_parts(room.wrapping_add(slot * 16384), n_byte) };
            assert!(bytes.iter().enumerate().all(|(i, &byte)| byte == ((offset + i as u64) / 1024) as u8));
            free.push(slot);
            n_done += 1;
        }
    }
    assert_eq!(disk.n_trouble(), (0, 0));
}

#[test]
fn every_vice_is_one_clear_error() {
    for vice in [Vice::HangsAtReads, Vice::FailsReads, Vice::WildId] {
        let fake = Fake::new(vice);
        let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
        // SAFETY: the room is as long as the read.
        assert!(unsafe { disk.submit(1, 0, room(), 4096) });
        let fault = (0..5000).find_map(|_| disk.poll()).expect("it ends").1.expect_err("it fails");
        let expected = match vice {
            Vice::HangsAtReads => matches!(fault.error, DeviceError::TimedOut { .. }),
            Vice::FailsReads => fault.error == DeviceError::Failed { what: "a read", status: 0x281 },
            _ => matches!(fault.error, DeviceError::Nonsense { .. }),
        };
        assert!(expected, "{vice:?}: {fault:?}");
        assert!(fake.0.borrow().n_read <= 2, "tried once and once more");
    }
}

#[test]
fn controllers_that_do_not_come_up() {
    let errors = [
        (Vice::NeverReady, "no start of an NVMe controller within 1500 ms"),
        (Vice::SaysThatItFailed, "start of an NVMe controller failed"),
        (Vice::BigPages, "expected pages of 4096 bytes"),
        (Vice::Metadata, "expected sectors without metadata, got 0x8"),
        (Vice::NoNamespace, "expected an active namespace"),
    ];
    for (vice, expected) in errors {
        let error = bring_up(&Fake::new(vice)).err().expect("it does not come up");
        assert!(std::format!("{error}").starts_with(expected), "{error}");
    }
}

#[test]
fn doorbells_are_inside_of_the_registers_however_far_apart_they_are() {
    for stride_shift in 0..16 {
        let fake = Fake::new(Vice::None);
        fake.0.borrow_mut().stride_shift = stride_shift;
        let mut disk = Disk::new(bring_up(&fake).unwrap(), clock);
        // SAFETY: the room is as long as the read.
        assert!(unsafe { disk.submit(1, 0, room(), 4096) });
        assert_eq!((0..5000).find_map(|_| disk.poll()), Some((1, Ok(4096))));
        // The driver tells the controller of a completion when it finds no other.
        assert_eq!(disk.poll(), None);
        let last = fake.0.borrow().furthest as u64;
        assert_eq!(last, 0x1000 + 3 * (4 << stride_shift) + 3, "the last doorbell was written");
        assert!(last < bytes_registers(&fake), "{last:#x} of {:#x}", bytes_registers(&fake));
    }
}

#[test]
fn pages_are_described_in_the_three_ways() {
    let mut lists = shared(2 * 4096);
    assert_eq!(describe_pages(0x5000, 512, &mut lists, 0), [0x5000, 0]);
    assert_eq!(describe_pages(0x5000, 4096, &mut lists, 0), [0x5000, 0]);
    assert_eq!(describe_pages(0x5000, 4097, &mut lists, 0), [0x5000, 0x6000]);
    assert_eq!(describe_pages(0x5000, 8192, &mut lists, 0), [0x5000, 0x6000]);
    let list = lists.address(4096);
    assert_eq!(describe_pages(0x5000, 2 << 20, &mut lists, 1), [0x5000, list]);
    for i in 0..511 {
        assert_eq!(lists.read::<u64>(4096 + 8 * i), 0x6000 + 4096 * i as u64);
    }
    assert_eq!(lists.read::<u64>(4096 + 8 * 511), 0, "nothing past the end");
}
