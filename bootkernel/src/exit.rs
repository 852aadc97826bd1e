//! How it ends: with a status, on every core.

use crate::nub;
use crate::ports::{write_u16, write_u32};

/// What the machine ends with. Under QEMU with `-device isa-debug-exit,iobase=0xf4,iosize=4` the process ends with twice the
/// number plus 1; `docs/bare.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// All is done: QEMU ends with 33.
    Done = 0x10,
    /// The command line asks for what cannot be.
    CommandLine = 0x11,
    /// Too little memory, or none that can be used.
    Memory = 0x12,
    /// No image, or a damaged one.
    Image = 0x13,
    /// A device that failed or did not answer.
    Device = 0x14,
    /// The engine refused the model or what it was to do.
    Model = 0x15,
    /// A test failed.
    Test = 0x16,
    /// The loader's tables, the processor or the firmware.
    Machine = 0x17,
    /// Memory was allocated after initialisation.
    Allocation = 0x7c,
    /// A core was stuck.
    Watchdog = 0x7d,
    /// A fault of the processor.
    Fault = 0x7e,
    /// A panic.
    Panic = 0x7f,
}

/// Ends the machine.
pub fn exit(status: Status) -> ! {
    crate::console::CONSOLE.lock().flush();
    let is_virtual = nub::cpuid(1, 0)[2] >> 31 == 1;
    if is_virtual {
        write_u32(0xf4, status as u32);
        // Without that device: QEMU's own power button, on the machines that have it.
        write_u16(0x604, 0x2000);
    }
    crate::line!("axiom: status {:#x}; the machine can be switched off", status as u32);
    nub::interrupts(false);
    loop {
        nub::wait();
    }
}
