//! The life of the runtime, from the nub's hand-over on.

use crate::clock;
use crate::console;
use crate::exit::{Status, exit};
use crate::line;
use crate::memory::{self, Peek};
use bare::boot::{BootInfo, Loader, Range};

unsafe extern "C" {
    static __guard: u8;
    static __stack: u8;
    static __stack_top: u8;
    static __fault_stack: u8;
    static __fault_stack_top: u8;
}

/// The first core begins here, with what the loader left in eax and ebx.
#[unsafe(no_mangle)]
extern "C" fn runtime_main(magic: u32, address: u32) -> ! {
    console::set_up();
    let mut info = match BootInfo::read(magic, address.into(), &Peek) {
        Ok(info) => info,
        Err(error) => {
            line!("axiom: {error}");
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
        "axiom: bare, loaded by {loader}, {} MiB of memory, {} MiB free at {:#x}, {} modules, clock {} kHz ({source})",
        info.memory.bytes_usable() >> 20,
        run.bytes() >> 20,
        run.start,
        info.modules().len(),
        clock::khz()
    );
    line!("axiom: up after {} us", clock::now_us());
    if let Some(test) = info.command_line.value("test") {
        crate::trial::run(test);
    }
    exit(Status::Done)
}

/// Every other core begins here.
#[unsafe(no_mangle)]
extern "C" fn runtime_core(_core: usize) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Whether the `n_byte` at `address` are on a stack.
pub fn is_stack(address: u64, n_byte: u64) -> bool {
    let stacks = [
        Range { start: &raw const __stack as u64, end: &raw const __stack_top as u64 },
        Range { start: &raw const __fault_stack as u64, end: &raw const __fault_stack_top as u64 },
    ];
    stacks.iter().any(|stack| stack.start <= address && address.saturating_add(n_byte) <= stack.end)
}

/// What there is to say of an address that is not mapped.
pub fn stack_note(address: u64) -> &'static str {
    let guard = &raw const __guard as u64;
    if (guard..&raw const __stack as u64).contains(&address) { ": the stack has overflowed" } else { "" }
}
