//! A pair of queues (section 4.1): commands go round in one, completions in the other. Which completions are new is told by a
//! bit that changes with every round.

use super::command::Command;
use crate::device::{DeviceError, Registers, Shared};
use core::sync::atomic::{Ordering, fence};

const BYTES_COMMAND: usize = 64;
const BYTES_COMPLETION: usize = 16;

/// Entries of each: their commands fill a page.
pub const N_ENTRY: u16 = 64;

/// Where the doorbells begin.
pub const FIRST_BELL: usize = 0x1000;

/// Bytes of both queues.
pub const BYTES_QUEUES: usize = 2 * Shared::PAGE;

const COMMANDS: usize = 0;
const COMPLETIONS: usize = Shared::PAGE;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The number that the command was given.
    pub id: u16,
    /// Status code and type; 0 is success.
    pub status: u16,
}

/// The pair.
pub struct Queues {
    memory: Shared,
    /// Entries in use: no more than the controller can.
    n_entry: u16,
    /// Offsets of the doorbells.
    command_bell: usize,
    completion_bell: usize,
    tail: u16,
    head: u16,
    /// The bit that new completions have in this round.
    phase: u16,
}

impl Queues {
    /// Empty queues in [`BYTES_QUEUES`] bytes; `number` is 0 for those that manage the controller, `stride` the bytes from one
    /// doorbell to the next.
    pub fn new(memory: Shared, n_entry: u16, number: usize, stride: usize) -> Queues {
        let mut queues = Queues {
            memory,
            n_entry,
            command_bell: FIRST_BELL + 2 * number * stride,
            completion_bell: FIRST_BELL + (2 * number + 1) * stride,
            tail: 0,
            head: 0,
            phase: 1,
        };
        queues.clear();
        queues
    }

    /// As before the first command.
    pub fn clear(&mut self) {
        self.memory.clear();
        (self.tail, self.head, self.phase) = (0, 0, 1);
    }

    /// Entries.
    pub fn n_entry(&self) -> u16 {
        self.n_entry
    }

    /// Addresses of commands and completions.
    pub fn addresses(&self) -> [u64; 2] {
        [COMMANDS, COMPLETIONS].map(|part| self.memory.address(part))
    }

    /// Queues a command under a number. The caller keeps fewer under way than there are entries.
    pub fn push(&mut self, id: u16, command: &Command) {
        let at = COMMANDS + usize::from(self.tail) * BYTES_COMMAND;
        for (i, &word) in command.iter().enumerate() {
            let word = if i == 0 { word | u32::from(id) << 16 } else { word };
            self.memory.write(at + 4 * i, word);
        }
        self.tail = (self.tail + 1) % self.n_entry;
    }

    /// Shows what was queued.
    pub fn ring(&self, registers: &impl Registers) {
        fence(Ordering::SeqCst);
        registers.write_u32(self.command_bell, self.tail.into());
    }

    /// A command that is done.
    pub fn pop(&mut self) -> Option<Completion> {
        let at = COMPLETIONS + usize::from(self.head) * BYTES_COMPLETION;
        let last = self.memory.read::<u32>(at + 12);
        if (last >> 16) as u16 & 1 != self.phase {
            return None;
        }
        fence(Ordering::SeqCst);
        self.head += 1;
        if self.head == self.n_entry {
            (self.head, self.phase) = (0, self.phase ^ 1);
        }
        Some(Completion { id: last as u16, status: (last >> 17) as u16 & 0x7ff })
    }

    /// Lets the controller use the places of the completions that were taken.
    pub fn release(&self, registers: &impl Registers) {
        registers.write_u32(self.completion_bell, self.head.into());
    }

    /// Runs one command and waits for it.
    ///
    /// # Errors
    ///
    /// If it fails, or does not end.
    pub fn run(
        &mut self,
        registers: &impl Registers,
        clock: crate::device::Clock,
        what: &'static str,
        command: &Command,
    ) -> Result<(), DeviceError> {
        const LIMIT_US: u64 = 2_000_000;
        self.push(0, command);
        self.ring(registers);
        let mut done = None;
        crate::device::wait(clock, LIMIT_US, what, || {
            done = self.pop();
            done.is_some()
        })?;
        self.release(registers);
        match done.map_or(0, |done| done.status) {
            0 => Ok(()),
            status => Err(DeviceError::Failed { what, status: status.into() }),
        }
    }
}
