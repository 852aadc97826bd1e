//! The line to the program outside: whole messages in, messages of any length out (`docs/bare-protocol.md`), over a virtio
//! serial port. After it was made, nothing here allocates but where it says so.

use crate::devices::AnyConsole;
use crate::exit::{Status, exit, fail};
use crate::{clock, heap, line, machine, nub};
use alloc::vec;
use alloc::vec::Vec;
use axiom_core::checksum::crc32;
use axiom_core::protocol::{BYTES_FRAME_MAX, BYTES_PAYLOAD_MAX, Header, Inbox, Reader, Receiver, Taken, frames, kind};
use bare::device::DeviceError;
use core::fmt;

/// Most bytes of a message, where nothing larger was made room for.
pub const BYTES_MESSAGE: usize = 1 << 20;

/// The rest of a frame that has begun comes within this time, or is not waited for.
const REST_US: u64 = 2_000_000;
/// When nothing has come for so long, the first core sleeps from tick to tick.
const AWAKE_US: u64 = 200_000;
/// The others sleep sooner: while they wait for work they take time from whoever is to bring it.
const OTHERS_AWAKE_US: u64 = 2_000;

/// The line.
pub struct Wire {
    port: Port,
    inbox: Inbox,
}

/// The console, and what has come of a frame.
pub struct Port {
    console: AnyConsole,
    receiver: Receiver<'static>,
    /// Damage that was reported.
    n_damage: u64,
    /// What is put together before it is sent.
    outgoing: Vec<u8>,
    sent_us: u64,
}

/// Bytes that arrive while others are being taken wait in the device.
const BYTES_RECEIVER: usize = 2 * BYTES_FRAME_MAX;

fn broken<T>(error: DeviceError) -> T {
    fail(Status::Device, format_args!("the line to the program outside: {error}"))
}

impl Wire {
    /// Over a console that has come up.
    pub fn new(console: AnyConsole) -> Wire {
        let receiver = Receiver::new(vec![0; BYTES_RECEIVER].leak());
        let outgoing = Vec::with_capacity(BYTES_PAYLOAD_MAX);
        Wire { port: Port { console, receiver, n_damage: 0, outgoing, sent_us: 0 }, inbox: Inbox::new(BYTES_MESSAGE) }
    }

    /// Waits for the next message: what it is, and its number. `most_saved` is the longest state of a sequence, for which
    /// room is made when it comes; this alone allocates.
    pub fn next(&mut self, most_saved: usize) -> (u16, u32) {
        let mut last_us = clock::now_us();
        loop {
            let n_before = self.port.receiver.n_pending();
            let taken = self.take(most_saved);
            let n_pending = self.port.receiver.n_pending();
            if taken.is_none() {
                self.port.check_end();
            }
            let now_us = clock::now_us();
            // A long message comes piece by piece, and none of them is late for what the line was silent before.
            if taken.is_some() || n_pending != n_before {
                last_us = now_us;
            }
            match taken {
                Some(Taken::Whole { kind: kind::CANCEL, .. }) => {}
                Some(Taken::Whole { kind, number }) => return (kind, number),
                Some(Taken::TooLong { number, most }) => {
                    let mut error = self.port.error(number, axiom_core::error::ErrorClass::MemoryBudget);
                    error.text(format_args!(
                        "a message is longer than the {most} bytes that the machine has room for; give it more memory"
                    ));
                    error.end();
                }
                Some(Taken::OutOfOrder) => self.port.report_damage(),
                Some(Taken::More) => {}
                None if n_pending > 0 && now_us - last_us > REST_US => {
                    self.port.receiver.give_up();
                    last_us = now_us;
                }
                // Ticks go on: what comes is seen within one of them.
                None if now_us - last_us > AWAKE_US => nub::wait(),
                // The others are woken when there is work for them.
                None if now_us - last_us > OTHERS_AWAKE_US => machine::fall_asleep(),
                None => core::hint::spin_loop(),
            }
            if self.port.n_damage != self.port.receiver.n_damage() {
                self.port.report_damage();
            }
        }
    }

    /// Takes a frame, if one is there.
    fn take(&mut self, most_saved: usize) -> Option<Taken> {
        let Port { console, receiver, .. } = &mut self.port;
        if receiver.has_room() {
            console.receive_one(|piece| receiver.push(piece)).unwrap_or_else(broken);
        }
        let (header, payload) = receiver.pop()?;
        if header.kind == kind::SEQ_LOAD && header.idx == 0 {
            // It begins with its length, which is believed up to what there can be.
            let n_byte = Reader::new(payload).count().unwrap_or(usize::MAX);
            if n_byte <= most_saved {
                heap::unseal();
                self.inbox.grow(n_byte + size_of::<u64>());
                heap::seal();
            }
        }
        Some(self.inbox.take(&header, payload))
    }

    /// The payload of the message that has come, and the port to answer by.
    pub fn parts(&mut self) -> (&[u8], &mut Port) {
        (self.inbox.payload(), &mut self.port)
    }
}

impl Port {
    /// Whether the request `number`, which is being worked on, was cancelled. Looks at what has come, and never waits. Nothing
    /// is done for other requests now, which is said; the same one, sent again, is the one that is under way.
    pub fn is_cancelled(&mut self, number: u32) -> bool {
        self.check_end();
        let Port { console, receiver, .. } = self;
        if receiver.has_room() {
            console.receive_one(|piece| receiver.push(piece)).unwrap_or_else(broken);
        }
        let (mut is_cancelled, mut is_early) = (false, false);
        while let Some((header, _)) = receiver.pop() {
            let (is_cancel, is_this) = (header.kind == kind::CANCEL, header.number == number);
            is_cancelled |= is_cancel && is_this;
            is_early |= !is_cancel && !is_this;
        }
        if is_early {
            self.report_damage();
        }
        is_cancelled
    }

    /// Says how far a request is, if nothing was said for `quiet_us`.
    pub fn progress(&mut self, number: u32, n_done: u64, n_all: u64, quiet_us: u64) {
        if clock::now_us() - self.sent_us >= quiet_us {
            let mut message = self.message(kind::PROGRESS, number);
            message.u64(n_done);
            message.u64(n_all);
            message.end();
        }
    }

    /// Sends a message whose payload lies in memory as it is.
    pub fn send(&mut self, kind: u16, number: u32, payload: &[u8]) {
        for (header, part) in frames(kind, number, payload) {
            self.send_frame(&header, part);
        }
    }

    /// A machine that nobody drives any more ends.
    fn check_end(&mut self) {
        if !self.console.is_open().unwrap_or_else(broken) {
            line!("axiom: the program outside has gone");
            exit(Status::Done);
        }
    }

    fn send_frame(&mut self, header: &Header, payload: &[u8]) {
        let (head, sum) = (header.encode(), crc32(payload).to_le_bytes());
        while !self.console.send(&[&head, payload, &sum]).unwrap_or_else(broken) {
            self.check_end();
            core::hint::spin_loop();
        }
        self.sent_us = clock::now_us();
    }

    /// Begins the answer to a request.
    pub fn answer(&mut self, kind: u16, number: u32) -> Message<'_> {
        self.message(kind + kind::ANSWER, number)
    }

    /// Begins what is said instead of an answer.
    pub fn error(&mut self, number: u32, class: axiom_core::error::ErrorClass) -> Message<'_> {
        let mut message = self.message(kind::ERROR, number);
        message.u32(class as u32);
        message
    }

    fn message(&mut self, kind: u16, number: u32) -> Message<'_> {
        self.outgoing.clear();
        Message { port: self, kind, number, idx: 0 }
    }

    fn report_damage(&mut self) {
        self.n_damage = self.receiver.n_damage();
        self.message(kind::DAMAGED, 0).end();
    }
}

/// A message that is sent field by field; its frames leave as they are full.
pub struct Message<'a> {
    port: &'a mut Port,
    kind: u16,
    number: u32,
    idx: u32,
}

impl Message<'_> {
    /// Appends bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.port.outgoing.len() == BYTES_PAYLOAD_MAX {
                self.flush(true);
            }
            let n = rest.len().min(BYTES_PAYLOAD_MAX - self.port.outgoing.len());
            self.port.outgoing.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
        }
    }

    /// Appends a u32.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends a u64.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    /// Appends a text behind its length.
    pub fn name(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes(text.as_bytes());
    }

    /// Appends a text, which takes the rest of the message.
    pub fn text(&mut self, text: fmt::Arguments<'_>) {
        // It never fails.
        let _ = fmt::Write::write_fmt(self, text);
    }

    /// Sends what is left.
    pub fn end(mut self) {
        self.flush(false);
    }

    fn flush(&mut self, has_more: bool) {
        let outgoing = core::mem::take(&mut self.port.outgoing);
        let header =
            Header { kind: self.kind, has_more, number: self.number, idx: self.idx, n_byte: outgoing.len() as u32 };
        self.port.send_frame(&header, &outgoing);
        self.port.outgoing = outgoing;
        self.port.outgoing.clear();
        self.idx += 1;
    }
}

impl fmt::Write for Message<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}
