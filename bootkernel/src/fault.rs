//! The end of a run that went wrong: what happened, where, and how it came there.

use crate::backtrace::{backtrace, backtrace_here};
use crate::exit::{Status, exit, fail, take_last_word};
use crate::nub::{CorePage, Report};
use crate::stacks::stack_note;
use crate::{heap, line, watchdog};
use core::panic::PanicInfo;

/// Names of the exceptions, by vector; 32 is the watchdog's tick.
const NAMES: [&str; 33] = [
    "division error",
    "debug exception",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound exceeded",
    "invalid instruction",
    "no coprocessor",
    "double fault",
    "coprocessor overrun",
    "invalid task state",
    "segment not present",
    "stack segment fault",
    "general protection fault",
    "page fault",
    "vector 15",
    "x87 error",
    "misaligned access",
    "machine check",
    "SIMD floating-point error",
    "virtualization exception",
    "control protection exception",
    "vector 22",
    "vector 23",
    "vector 24",
    "vector 25",
    "vector 26",
    "vector 27",
    "hypervisor injection",
    "VMM communication",
    "security exception",
    "vector 31",
    "watchdog",
];

const PAGE_FAULT: u64 = 14;
const WATCHDOG: u64 = 32;

/// Where a core goes when it faults.
#[unsafe(no_mangle)]
extern "C" fn runtime_fault(page: &CorePage) -> ! {
    take_last_word();
    let report = &page.report;
    let name = NAMES.get(report.vector as usize).copied().unwrap_or("unknown vector");
    let ring = report.cs & 3;
    line!(
        "axiom: fault on core {}, ring {ring}: {name} (vector {}, error {:#x})",
        page.core,
        report.vector,
        report.error
    );
    if report.vector == PAGE_FAULT {
        describe_page_fault(report);
    }
    if report.vector == WATCHDOG {
        line!("  the core has given no sign of life for {} ticks", watchdog::n_tick_without_sign());
    }
    registers(report);
    backtrace(report.rip, report.rbp);
    crate::progress::report();
    exit(if report.vector == WATCHDOG { Status::Watchdog } else { Status::Fault })
}

fn describe_page_fault(report: &Report) {
    let what = match report.error {
        error if error & 1 << 4 != 0 => "execution",
        error if error & 1 << 1 != 0 => "write",
        _ => "read",
    };
    let why = if report.error & 1 != 0 { "which its page does not allow" } else { "where nothing is mapped" };
    line!("  {what} at {:#x}, {why}{}", report.cr2, stack_note(report.cr2));
}

fn registers(r: &Report) {
    line!("  rip {:016x} rsp {:016x} rflags {:08x} cs {:x} ss {:x}", r.rip, r.rsp, r.rflags, r.cs, r.ss);
    line!("  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", r.rax, r.rbx, r.rcx, r.rdx);
    line!("  rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}", r.rsi, r.rdi, r.rbp, r.r8);
    line!("  r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}", r.r9, r.r10, r.r11, r.r12);
    line!("  r13 {:016x} r14 {:016x} r15 {:016x} cr2 {:016x}", r.r13, r.r14, r.r15, r.cr2);
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    take_last_word();
    if let Some(n_byte) = heap::bytes_refused() {
        fail(
            Status::Memory,
            format_args!("no memory is left for {n_byte} bytes; give the machine more, or fewer cores"),
        );
    }
    line!("axiom: {info}");
    backtrace_here();
    crate::progress::report();
    exit(Status::Panic)
}
