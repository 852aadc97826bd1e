//! How it ends: with a status, on every core, by the word of one of them.

use crate::console::CONSOLE;
use crate::ports::{write_u8, write_u16, write_u32};
use crate::spin::Spin;
use crate::{apic, nub};
use bare::acpi::PowerOff;
use core::fmt::Display;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

/// Whether `exit=bochs` was asked for.
static IS_BOCHS: AtomicBool = AtomicBool::new(false);
/// The firmware's way to switch off.
static POWER_OFF: Spin<Option<PowerOff>> = Spin::new(None);

/// Notes how this machine is to be ended; a register in memory is mapped.
pub fn set_up(is_bochs: bool, power_off: Option<PowerOff>) {
    IS_BOCHS.store(is_bochs, Ordering::Relaxed);
    *POWER_OFF.lock() = power_off;
}

/// Takes the last word: from here on this core is the only one, and nothing interrupts it. If another core has taken it, this
/// one stops: cores that go wrong together would silence each other, and the machine would stand there without a word.
pub fn take_last_word() {
    const NOBODY: usize = usize::MAX;
    static WHOSE: AtomicUsize = AtomicUsize::new(NOBODY);
    // The watchdog must not find an end that takes long; on the other cores it ends with them.
    nub::interrupts(false);
    let this = nub::core();
    match WHOSE.compare_exchange(NOBODY, this, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => apic::stop_others(),
        // A mistake in the report of a mistake.
        Err(whose) if whose == this => {}
        Err(_) => nub::stop(),
    }
    // SAFETY: the others are stopped, or are about to be; what this core was writing will not go on.
    unsafe { CONSOLE.break_open() };
}

/// Says why nothing more can be done, and ends the machine.
pub fn fail(status: Status, what: impl Display) -> ! {
    take_last_word();
    crate::line!("axiom: {what}");
    crate::progress::report();
    exit(status)
}

/// Ends the machine.
pub fn exit(status: Status) -> ! {
    take_last_word();
    CONSOLE.lock().flush();
    crate::console::drain();
    let is_virtual = nub::is_virtual();
    if is_virtual {
        write_u32(0xf4, status as u32);
    }
    crate::line!("axiom: status {:#x}", status as u32);
    crate::console::drain();
    if IS_BOCHS.load(Ordering::Relaxed) {
        b"Shutdown".iter().for_each(|&byte| write_u8(0x8900, byte));
    }
    // A machine that did not do what it was for stays on, so that the reason can be read.
    let power_off = if status == Status::Done { *POWER_OFF.lock() } else { None };
    match power_off {
        Some(PowerOff::Port { port, value }) => write_u16(port, value),
        Some(PowerOff::Memory { address, value }) => {
            // SAFETY: the register, by the firmware's word; `set_up` was given it mapped.
            unsafe { (address as *mut u8).write_volatile(value) }
        }
        None => {}
    }
    crate::line!("axiom: the machine can be switched off");
    nub::stop()
}
