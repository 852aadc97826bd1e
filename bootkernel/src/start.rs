//! The life of the runtime, from the nub's hand-over on.

use crate::devices::{self, Devices};
use crate::exit::{Status, exit, fail, set_up as set_up_exit};
use crate::line;
use crate::memory::{self, Peek};
use crate::nub::N_CORE_MAX;
use crate::ports::write_u8;
use crate::{apic, clock, console, cores};
use axiom_core::kernels::{CpuFeatures, Kernels};
use bare::acpi::{PowerOff, Tables};
use bare::boot::{BootInfo, Loader};
use core::arch::asm;

/// The first core begins here, with what the loader left in eax and ebx.
#[unsafe(no_mangle)]
extern "C" fn runtime_main(magic: u32, address: u32) -> ! {
    set_up_core();
    // The old interrupt controllers: masked, both. Their vectors are those of exceptions.
    write_u8(0x21, 0xff);
    write_u8(0xa1, 0xff);
    console::set_up();
    // A sign of life before anything can go wrong: the beginning of the first line, whatever that will say.
    let mut console = console::CONSOLE.lock();
    console.write_bytes(b"axiom: ");
    console.flush();
    drop(console);
    let mut info = match BootInfo::read(magic, address.into(), &Peek) {
        Ok(info) => info,
        Err(error) => {
            line!("{error}");
            exit(Status::Machine);
        }
    };
    let source = clock::set_up();
    let run = memory::set_up(&mut info);
    let loader = match info.loader {
        Loader::Pvh => "PVH",
        Loader::Multiboot2 => "Multiboot2",
    };
    line!(
        "bare, loaded by {loader}, {} MiB of memory, {} MiB free at {:#x}, {} modules, clock {} kHz ({source})",
        info.memory.bytes_usable() >> 20,
        run.bytes() >> 20,
        run.start,
        info.modules().len(),
        clock::khz()
    );
    line!("axiom: up after {} us", clock::now_us());
    let tables = acpi_tables(&info);
    if source == clock::Source::Unknown
        && let Some(port) = tables.as_ref().and_then(|tables| tables.timer_port)
    {
        let source = clock::set_up_beside_power_timer(port);
        line!("axiom: clock {} kHz ({source})", clock::khz());
    }
    set_up_exit(ends_by_bochs(&info), power_off(tables.as_ref()));
    crate::wish::check_names(&info.command_line);
    set_up_apic();
    let listed = tables.as_ref().map_or(&[][..], Tables::cores);
    let n_core = cores::start(listed, n_core_wanted(&info), &info.memory);
    line!("axiom: {n_core} of {} cores", listed.len().max(1));
    if let Some(prompt) = info.command_line.value("prompt") {
        line!("axiom: prompt {}", prompt.escape_ascii());
    }
    let kernels = choose_kernels(&info);
    line!("axiom: kernels {}", kernels.name);
    let serves = crate::wish::flag(&info.command_line, "serve");
    let Devices { disks, console } = devices::find(&info, tables.as_ref(), serves);
    // With `at_pass=`, a story is told until then.
    if let Some(test) = info.command_line.value("test")
        && info.command_line.value("at_pass").is_none()
    {
        crate::trial::run(test, kernels, n_core, disks);
        exit(Status::Done);
    }
    let source = crate::storage::find(info.modules(), disks);
    if serves {
        crate::serve::serve(console, source, kernels, n_core);
    }
    match source {
        Ok(source) => crate::story::tell(source, &info.command_line, kernels, n_core),
        Err(searched) => {
            fail(if searched.has_failed { Status::Device } else { Status::Image }, searched);
        }
    }
    exit(Status::Done)
}

/// What the firmware's tables say; without them there is one core, and PCI by ports.
fn acpi_tables(info: &BootInfo) -> Option<Tables> {
    match Tables::read(info.rsdp?, &Peek) {
        Ok(tables) => Some(tables),
        Err(error) => {
            line!("axiom: {error}");
            None
        }
    }
}

/// Whether `exit=` names the emulator Bochs, the only one that it is for.
fn ends_by_bochs(info: &BootInfo) -> bool {
    match info.command_line.value("exit") {
        None => false,
        Some(b"bochs") => true,
        Some(other) => {
            fail(Status::CommandLine, format_args!("exit={}: expected bochs", other.escape_ascii()));
        }
    }
}

/// Sets up the local APIC, where it is; registers in memory are mapped.
fn set_up_apic() {
    let address = apic::address();
    if let Some(address) = address
        && !memory::map_device(address, 4096)
    {
        let what = "expected the local APIC where a device can be";
        fail(Status::Machine, format_args!("{what}, got {address:#x}; switch it on in the firmware"));
    }
    apic::set_up(address);
}

/// The firmware's way to switch off, if it can be gone; a register in memory is mapped.
fn power_off(tables: Option<&Tables>) -> Option<PowerOff> {
    let power_off = tables?.power_off?;
    if let PowerOff::Memory { address, .. } = power_off
        && !memory::map_device(address, 1)
    {
        line!("axiom: firmware has the register to switch off at {address:#x}, where none can be; update the firmware");
        return None;
    }
    Some(power_off)
}

/// How many cores `cores=` asks for; all without it.
fn n_core_wanted(info: &BootInfo) -> usize {
    let Some(text) = info.command_line.value("cores") else { return N_CORE_MAX };
    match str::from_utf8(text).ok().and_then(|text| text.parse().ok()) {
        Some(n @ 1..) => n,
        _ => {
            fail(Status::CommandLine, format_args!("cores={}: expected a number from 1 on", text.escape_ascii()));
        }
    }
}

/// The best table that this processor runs, or the one that `kernels=` names.
fn choose_kernels(info: &BootInfo) -> &'static Kernels {
    let forced = info.command_line.value("kernels").map(|name| str::from_utf8(name).unwrap_or("?"));
    Kernels::choose(&CpuFeatures::detect(), forced)
        .unwrap_or_else(|error| fail(Status::CommandLine, format_args!("kernels=: {error}")))
}

/// What every core needs before it computes: floating point as `docs/arithmetic.md` has it.
fn set_up_core() {
    /// All exceptions masked; rounding to nearest; denormals kept.
    const STANDARD_MXCSR: u32 = 0x1F80;
    // SAFETY: no reserved bit is set.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &STANDARD_MXCSR, options(nostack, preserves_flags)) };
}

/// Every other core begins here.
#[unsafe(no_mangle)]
extern "C" fn runtime_core(core: usize) -> ! {
    set_up_core();
    cores::serve(core)
}
