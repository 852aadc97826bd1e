//! The port against a device that sends back what it gets, and can do what no device should.

use super::*;
use crate::testing::{Random, clock, shared};
use crate::virtio::N_QUEUE;
use std::collections::VecDeque;
use std::vec::Vec;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Vice {
    None,
    /// Reads nothing of what is sent.
    Deaf,
    /// Says that more is done than was asked for.
    RunsAhead,
    /// Names a buffer that does not exist.
    WildBuffer,
    /// Says that it wrote more than there is room for.
    TooMuch,
    /// Has queues of a size that cannot be.
    NoQueue,
    /// Has no port.
    NoPort,
    /// Has a console alone.
    NoFeature,
}

/// The device, which works when it is notified.
struct Echo {
    vice: Vice,
    status: u8,
    queues: [(u16, [u64; 3]); N_QUEUE],
    seen: [u16; N_QUEUE],
    used: [u16; N_QUEUE],
    /// What was sent and has not been sent back.
    heard: VecDeque<u8>,
    /// What is still to be said on the line of control.
    to_tell: VecDeque<[u16; 4]>,
    is_vicious: bool,
    random: Random,
}

impl Echo {
    fn new(vice: Vice) -> Echo {
        let (queues, seen, used) = ([(0, [0; 3]); N_QUEUE], [0; N_QUEUE], [0; N_QUEUE]);
        let (heard, to_tell) = (VecDeque::new(), VecDeque::new());
        Echo { vice, status: 0, queues, seen, used, heard, to_tell, is_vicious: false, random: Random(5) }
    }

    /// The next buffer of a queue: its number, address and length.
    fn next(&mut self, queue: usize) -> Option<(u16, u64, u32)> {
        let (n, [descriptors, available, _]) = self.queues[queue];
        // SAFETY: the driver's queue, which it has described to the device.
        unsafe {
            if self.seen[queue] == *((available + 2) as *const u16) {
                return None;
            }
            let idx = *((available + 4 + 2 * u64::from(self.seen[queue] % n)) as *const u16);
            self.seen[queue] = self.seen[queue].wrapping_add(1);
            let at = (descriptors + 16 * u64::from(idx)) as *const u64;
            let flags = (*at.add(1) >> 32) as u16;
            assert_eq!(flags, if queue.is_multiple_of(2) { 2 } else { 0 });
            Some((idx, *at, *at.add(1) as u32))
        }
    }

    fn end(&mut self, queue: usize, idx: u16, n_byte: u32) {
        let (n, [_, _, used]) = self.queues[queue];
        // It comes up as it should.
        let vice = if self.is_vicious { self.vice } else { Vice::None };
        let idx = if vice == Vice::WildBuffer { 63 } else { u32::from(idx) };
        let n_byte = if vice == Vice::TooMuch { u32::MAX } else { n_byte };
        let ahead = if vice == Vice::RunsAhead { 40 } else { 0 };
        // SAFETY: as above.
        unsafe {
            let entry = (used + 4 + 8 * u64::from(self.used[queue] % n)) as *mut u32;
            *entry = idx;
            *entry.add(1) = n_byte;
            self.used[queue] = self.used[queue].wrapping_add(1);
            *((used + 2) as *mut u16) = self.used[queue].wrapping_add(ahead);
        }
    }

    /// What was given on a queue.
    fn read(&mut self, queue: u16) -> Option<Vec<u8>> {
        let (idx, address, n_byte) = self.next(queue.into())?;
        // SAFETY: the driver's buffer, given to the device.
        let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, n_byte as usize) }.to_vec();
        self.end(queue.into(), idx, 0);
        Some(bytes)
    }

    /// Fills the next buffer of a queue; false if there is none.
    fn write(&mut self, queue: u16, bytes: &[u8]) -> bool {
        let Some((idx, address, n_byte)) = self.next(queue.into()) else { return false };
        assert!(bytes.len() <= n_byte as usize);
        // SAFETY: as above.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        self.end(queue.into(), idx, bytes.len() as u32);
        true
    }

    fn work(&mut self) {
        while let Some(said) = self.read(CONTROL[1]) {
            let [port, high, event, value] = [0, 2, 4, 6].map(|at| u16::from_le_bytes([said[at], said[at + 1]]));
            match (port, high, event, value) {
                (0xffff, 0xffff, event::DEVICE_READY, 1) if self.vice == Vice::NoPort => {}
                // Port 0 is another's.
                (0xffff, 0xffff, event::DEVICE_READY, 1) => {
                    self.to_tell.extend([[0, 0, 1, 0], [1, 0, event::PORT_ADD, 0]])
                }
                (1, 0, event::PORT_READY, 1) => self.to_tell.push_back([1, 0, event::PORT_OPEN, 1]),
                (1, 0, event::PORT_OPEN, 1) => {}
                other => panic!("{other:?} was said"),
            }
        }
        while let Some(&said) = self.to_tell.front() {
            let bytes: Vec<u8> = said.iter().flat_map(|half| half.to_le_bytes()).collect();
            if !self.write(CONTROL[0], &bytes) {
                break;
            }
            self.to_tell.pop_front();
        }
        if self.vice == Vice::Deaf {
            return;
        }
        while let Some(bytes) = self.read(LINE[1]) {
            self.heard.extend(bytes);
        }
        while !self.heard.is_empty() {
            let n = self.heard.len().min(1 + self.random.below(BYTES_RECEIVED as u64) as usize);
            let bytes: Vec<u8> = self.heard.iter().take(n).copied().collect();
            if !self.write(LINE[0], &bytes) {
                break;
            }
            self.heard.drain(..n);
        }
    }
}

impl Transport for Echo {
    fn status(&self) -> u8 {
        self.status
    }

    fn set_status(&mut self, status: u8) {
        self.status = status;
    }

    fn features(&mut self, word: u32) -> u32 {
        if word == 0 && self.vice == Vice::NoFeature { 0 } else { u32::MAX }
    }

    fn accept_features(&mut self, word: u32, features: u32) {
        let wanted = if word == 0 { self.features(0) & MULTIPORT } else { 3 };
        assert_eq!(features, wanted, "version 1, the platform, ports, and nothing else");
    }

    fn queue_size_max(&mut self, _: u16) -> u16 {
        if self.vice == Vice::NoQueue { 0 } else { 128 }
    }

    fn set_queue(&mut self, queue: u16, n: u16, parts: [u64; 3]) -> Result<(), DeviceError> {
        self.queues[usize::from(queue)] = (n, parts);
        Ok(())
    }

    fn notify(&mut self, _: u16) {
        self.work();
    }

    fn configuration(&self, _: usize) -> u32 {
        unreachable!("a console is not asked for its size")
    }
}

fn console(vice: Vice) -> Result<Console<Echo>, DeviceError> {
    Console::new(Echo::new(vice), shared(BYTES_CONSOLE_MEMORY), clock)
}

#[test]
fn what_is_sent_comes_back_in_order() {
    let mut console = console(Vice::None).unwrap();
    let mut random = Random(9);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    let mut chance = Random(10);
    // Pieces are taken in part, or not at all.
    let mut take = |console: &mut Console<Echo>| {
        console
            .receive_one(|piece| {
                let n = chance.below(piece.len() as u64 + 1) as usize;
                got.extend_from_slice(&piece[..n]);
                n
            })
            .unwrap();
    };
    for _ in 0..400 {
        let longest = if random.below(5) == 0 { BYTES_SENT_MAX as u64 } else { 200 };
        let n = random.below(longest) as usize;
        let bytes: Vec<u8> = (0..n).map(|_| random.next() as u8).collect();
        let cut = random.below(n as u64 + 1) as usize;
        while !console.send(&[&bytes[..cut], &bytes[cut..]]).unwrap() {
            take(&mut console);
        }
        sent.extend(bytes);
        while random.below(2) == 0 {
            take(&mut console);
        }
    }
    assert!(console.is_open().unwrap());
    for _ in 0..100_000 {
        take(&mut console);
    }
    assert_eq!(got.len(), sent.len());
    assert!(got == sent);
}

#[test]
fn a_deaf_device_is_not_waited_for() {
    let mut console = console(Vice::Deaf).unwrap();
    let accepted = (0..100).filter(|_| console.send(&[b"x"]).unwrap()).count();
    assert_eq!(accepted, N_SENT);
    console.receive_one(|_| panic!("nothing was sent")).unwrap();
}

#[test]
fn what_cannot_be_is_an_error() {
    for (vice, expected) in [
        (Vice::RunsAhead, "the index of the used ring"),
        (Vice::WildBuffer, "a finished descriptor"),
        (Vice::TooMuch, "the length of a filled buffer"),
    ] {
        let mut console = console(vice).unwrap();
        console.transport.is_vicious = true;
        let mut line = || -> Result<(), DeviceError> {
            for _ in 0..20 {
                console.send(&[&[1; 100]])?;
                console.receive_one(<[u8]>::len)?;
            }
            Ok(())
        };
        let Err(DeviceError::Nonsense { what, .. }) = line() else { panic!("{vice:?} went unnoticed") };
        assert_eq!(what, expected);
    }
    assert!(matches!(console(Vice::NoQueue), Err(DeviceError::Nonsense { .. })));
    assert!(matches!(console(Vice::NoPort), Err(DeviceError::TimedOut { .. })));
    assert!(matches!(console(Vice::NoFeature), Err(DeviceError::Unsupported { .. })));
}

#[test]
fn the_other_end_goes() {
    let mut console = console(Vice::None).unwrap();
    assert!(console.is_open().unwrap());
    console.transport.to_tell.push_back([1, 0, event::PORT_OPEN, 0]);
    console.transport.work();
    assert!(!console.is_open().unwrap());
}

#[test]
fn who_comes_instead_is_somebody_else() {
    let mut console = console(Vice::None).unwrap();
    // Both before anybody looks.
    console.transport.to_tell.extend([[1, 0, event::PORT_OPEN, 0], [1, 0, event::PORT_OPEN, 1]]);
    console.transport.work();
    assert!(!console.is_open().unwrap());
}
