//! Tests of the machine itself, asked for by `test=` on the command line: each ends as a mistake of that kind would.

use crate::exit::{Status, exit};
use crate::{clock, line, memory};
use axiom_core::conformance::CHECKS;
use axiom_core::conformance::inputs::ARE_HALF_TIES_WRONG;
use axiom_core::kernels::{CpuFeatures, Kernels};
use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::Ordering;

/// Runs the test of that name; returns if it passed and the machine may go on.
pub fn run(name: &[u8], kernels: &'static Kernels) {
    match name {
        b"none" => {}
        b"conformance" => conformance(kernels),
        b"null" => read(0),
        b"wild" => read(0x4000_dead_b000),
        b"not-canonical" => read(0x8000_0000_0000),
        b"nub" => read(memory::image().start),
        b"write-code" => write(run as *const () as u64),
        b"execute-data" => execute(),
        b"divide" => divide(),
        b"overflow" => {
            black_box(descend(black_box(1)));
        }
        b"breakpoint" => breakpoint(),
        b"panic" => panic!("a panic that was asked for"),
        b"privileged" => privileged(),
        _ => {
            line!("axiom: test={}: there is no such test", name.escape_ascii());
            exit(Status::CommandLine);
        }
    }
}

/// The table against the portable one; a difference is a panic that says where.
fn conformance(kernels: &'static Kernels) {
    if CpuFeatures::detect().f16c && half_of_smallest_tie() != 0 {
        line!("axiom: this processor is an emulator that rounds ties of f16 up, not to even: those are not compared");
        ARE_HALF_TIES_WRONG.store(true, Ordering::Relaxed);
    }
    for (name, check) in CHECKS {
        let start = clock::now_us();
        check(kernels);
        line!("axiom: conformance of {}: {name}: {} ms", kernels.name, (clock::now_us() - start) / 1000);
    }
}

/// What the processor's own conversion makes of 2^-25, which lies half-way between 0 and the smallest f16: 0 is right.
fn half_of_smallest_tie() -> u32 {
    let half: u32;
    // SAFETY: the caller has seen F16C.
    unsafe {
        asm!("vmovd {x}, {tie:e}", "vcvtps2ph {x}, {x}, 0", "vmovd {half:e}, {x}",
            x = out(xmm_reg) _, tie = in(reg) 0x3300_0000u32, half = out(reg) half,
            options(nomem, nostack, preserves_flags));
    }
    half & 0xFFFF
}

fn read(address: u64) {
    // SAFETY: a read that faults changes nothing.
    line!("read {:#x}", unsafe { (address as *const u64).read_volatile() });
}

fn write(address: u64) {
    // SAFETY: a write that faults changes nothing; if it does not fault, the test has failed, and the machine ends.
    unsafe { (address as *mut u64).write_volatile(0) };
    exit(Status::Test)
}

fn execute() {
    static CODE: [u8; 1] = [0xc3];
    // SAFETY: a call that faults changes nothing; if it does not, `ret` comes back.
    unsafe { asm!("call {}", in(reg) CODE.as_ptr(), clobber_abi("C")) };
    exit(Status::Test)
}

fn divide() {
    // SAFETY: the division faults.
    unsafe { asm!("div {0:e}", in(reg) 0u32, inout("eax") 1 => _, inout("edx") 0 => _) };
    exit(Status::Test)
}

fn breakpoint() {
    // SAFETY: no service has that number.
    unsafe { asm!("int3", in("rax") u64::MAX) };
    exit(Status::Test)
}

fn privileged() {
    // SAFETY: ring 3 may not.
    unsafe { asm!("hlt") };
    exit(Status::Test)
}

#[expect(unconditional_recursion)]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(depth + 1) + frame[depth as usize % 64]
}
