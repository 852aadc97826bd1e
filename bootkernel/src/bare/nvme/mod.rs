//! NVMe disks (NVM Express base specification 1.4), polled: one queue of commands to manage the controller, one for reads.

mod command;
mod controller;
mod queue;

pub use self::controller::{BYTES_FIRST_REGISTERS, BYTES_MEMORY, Nvme, bytes_registers};

/// Class of an NVMe controller on PCI: mass storage, non-volatile, NVM Express.
pub const CLASS: u32 = 0x01_08_02;

#[cfg(test)]
mod tests;
