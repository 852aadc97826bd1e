//! A virtio serial port (section 5.3): a line of bytes in both directions, to whatever is at its other end.
//!
//! It is port 1 of a device that has several, because such a port waits until what it was given has been taken: port 0, a
//! console, may drop what its other end does not take at once. So there is a line of control beside the line itself, on
//! which ports are announced, opened and closed.

use super::buffers::{Buffers, N_ENTRY_MAX, bytes_memory};
use super::{Transport, negotiate, status};
use crate::device::{Clock, DeviceError, Shared, wait};

/// Feature: ports beside the console, and a line of control.
const MULTIPORT: u32 = 1 << 1;

/// The port, and the queues of control and of the port, to here and from here.
const PORT: u32 = 1;
const CONTROL: [u16; 2] = [2, 3];
const LINE: [u16; 2] = [4, 5];

/// What is said on the line of control: u32 port, u16 event, u16 value.
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_READY: u16 = 3;
    pub const PORT_OPEN: u16 = 6;
}

const NO_PORT: u32 = u32::MAX;

/// How long the device may take to announce the port.
const ANNOUNCE_US: u64 = 2_000_000;

/// What comes arrives in pieces of this length at most.
const BYTES_RECEIVED: usize = 4096;
const N_RECEIVED: usize = 32;
const N_CONTROL: usize = 8;

/// Most bytes that are sent at once.
pub const BYTES_SENT_MAX: usize = 1 << 16;
const N_SENT: usize = 8;

/// Buffers of each queue: how many, of how many bytes, and whether the device fills them.
const QUEUES: [(u16, usize, usize, bool); 4] = [
    (CONTROL[0], N_CONTROL, BYTES_RECEIVED, true),
    (CONTROL[1], N_CONTROL, BYTES_RECEIVED, false),
    (LINE[0], N_RECEIVED, BYTES_RECEIVED, true),
    (LINE[1], N_SENT, BYTES_SENT_MAX, false),
];

/// Bytes of memory that a serial port needs.
pub const BYTES_CONSOLE_MEMORY: usize = {
    let (mut n_byte, mut i) = (0, 0);
    while i < QUEUES.len() {
        n_byte += bytes_memory(QUEUES[i].1, QUEUES[i].2);
        i += 1;
    }
    n_byte
};

/// The port.
pub struct Console<T> {
    transport: T,
    /// In the order of [`QUEUES`].
    heard: Buffers,
    told: Buffers,
    received: Buffers,
    sent: Buffers,
    /// What was taken of a buffer in part: its number, bytes taken, bytes in it.
    piece: Option<(usize, usize, usize)>,
    is_announced: bool,
    is_open: bool,
    /// Whether the other end was there and went. Who comes after that is somebody else, whom nothing said here was for.
    is_closed: bool,
}

impl<T: Transport> Console<T> {
    /// Brings the device up, with [`BYTES_CONSOLE_MEMORY`] bytes of memory, and opens the port.
    ///
    /// # Errors
    ///
    /// If it does not come up, or is not as it should be.
    pub fn new(mut transport: T, memory: Shared, clock: Clock) -> Result<Console<T>, DeviceError> {
        let features = negotiate(&mut transport, clock, MULTIPORT)?;
        if features & MULTIPORT == 0 {
            return Err(DeviceError::Unsupported { what: "a serial port beside the console", got: features.into() });
        }
        let mut rest = memory;
        let mut set_up = |(queue, n_buffer, bytes_buffer, is_filled): (u16, usize, usize, bool)| {
            let n_entry = transport.queue_size_max(queue).min(N_ENTRY_MAX);
            if !n_entry.is_power_of_two() {
                return Err(DeviceError::Nonsense { what: "the size of a queue", got: n_entry.into() });
            }
            let after = rest.split_off(bytes_memory(n_buffer, bytes_buffer));
            let memory = core::mem::replace(&mut rest, after);
            let buffers = Buffers::new(memory, n_entry, n_buffer, bytes_buffer, is_filled);
            transport.set_queue(queue, n_entry, buffers.addresses())?;
            Ok(buffers)
        };
        let [heard, told, received, sent] =
            [set_up(QUEUES[0])?, set_up(QUEUES[1])?, set_up(QUEUES[2])?, set_up(QUEUES[3])?];
        transport.set_status(status::UP);
        let (piece, is_announced, is_open, is_closed) = (None, false, false, false);
        let mut port = Console { transport, heard, told, received, sent, piece, is_announced, is_open, is_closed };
        for (queue, buffers) in [(CONTROL[0], &mut port.heard), (LINE[0], &mut port.received)] {
            while let Some(idx) = buffers.free() {
                buffers.give(idx, 0);
            }
            if buffers.publish() {
                port.transport.notify(queue);
            }
        }
        port.tell(NO_PORT, event::DEVICE_READY, 1)?;
        let mut result = Ok(());
        wait(clock, ANNOUNCE_US, "serial port", || {
            result = port.hear();
            result.is_err() || port.is_announced && port.is_open
        })?;
        result.map(|()| port)
    }

    /// Says something on the line of control. There is room: little is said.
    fn tell(&mut self, port: u32, event: u16, value: u16) -> Result<(), DeviceError> {
        while self.told.pop()?.is_some() {}
        let idx = self.told.free().ok_or(DeviceError::Nonsense { what: "the line of control", got: event.into() })?;
        self.told.write(idx, 0, &port.to_le_bytes());
        self.told.write(idx, 4, &event.to_le_bytes());
        self.told.write(idx, 6, &value.to_le_bytes());
        self.told.give(idx, 8);
        if self.told.publish() {
            self.transport.notify(CONTROL[1]);
        }
        Ok(())
    }

    /// Takes what has been said on the line of control.
    fn hear(&mut self) -> Result<(), DeviceError> {
        while let Some((idx, n_byte)) = self.heard.pop()? {
            let said = self.heard.bytes(idx, n_byte).first_chunk::<8>().copied();
            self.heard.give(idx, 0);
            if self.heard.publish() {
                self.transport.notify(CONTROL[0]);
            }
            let Some([a, b, c, d, e, f, g, h]) = said else { continue };
            if u32::from_le_bytes([a, b, c, d]) != PORT {
                continue;
            }
            match (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h])) {
                (event::PORT_ADD, _) => {
                    self.is_announced = true;
                    self.tell(PORT, event::PORT_READY, 1)?;
                    self.tell(PORT, event::PORT_OPEN, 1)?;
                }
                (event::PORT_OPEN, value) => {
                    self.is_closed |= self.is_open && value == 0;
                    self.is_open = value != 0 && !self.is_closed;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the one who was at the other end first still is, by what the device has said so far.
    ///
    /// # Errors
    ///
    /// What the device says that cannot be.
    pub fn is_open(&mut self) -> Result<bool, DeviceError> {
        self.hear()?;
        Ok(self.is_open)
    }

    /// Gives out the next piece that has come, if any has. It says how many bytes it has taken; the rest is given out again.
    /// Never waits.
    ///
    /// # Errors
    ///
    /// What the device says that cannot be.
    pub fn receive_one(&mut self, take: impl FnOnce(&[u8]) -> usize) -> Result<(), DeviceError> {
        let (idx, start, n_byte) = match self.piece.take() {
            Some(piece) => piece,
            None => match self.received.pop()? {
                Some((idx, n_byte)) => (idx, 0, n_byte),
                None => return Ok(()),
            },
        };
        let n_taken = take(&self.received.bytes(idx, n_byte)[start..]);
        if start + n_taken < n_byte {
            self.piece = Some((idx, start + n_taken, n_byte));
            return Ok(());
        }
        self.received.give(idx, 0);
        if self.received.publish() {
            self.transport.notify(LINE[0]);
        }
        Ok(())
    }

    /// Sends parts one after the other, together at most [`BYTES_SENT_MAX`] bytes; `false` if the device has not read enough
    /// of what was sent before. Never waits.
    ///
    /// # Errors
    ///
    /// What the device says that cannot be.
    ///
    /// # Panics
    ///
    /// If it is more.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<bool, DeviceError> {
        while self.sent.pop()?.is_some() {}
        let Some(idx) = self.sent.free() else { return Ok(false) };
        let mut n_byte = 0;
        for part in parts {
            self.sent.write(idx, n_byte, part);
            n_byte += part.len();
        }
        self.sent.give(idx, n_byte);
        if self.sent.publish() {
            self.transport.notify(LINE[1]);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
