//! Tests of the machine itself, asked for by `test=` on the command line: each ends as a mistake of that kind would.

use crate::devices::Found;
use crate::exit::{Status, exit, fail};
use crate::machine::Machine;
use crate::nub::N_CORE_MAX;
use crate::watchdog::{self, TICK_US};
use crate::{clock, heap, line, memory, progress};
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::vec::Vec;
use axiom_core::conformance::CHECKS;
use axiom_core::conformance::inputs::ARE_HALF_TIES_WRONG;
use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_core::platform::Platform;
use axiom_core::schedule::Phases;
use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Runs the test of that name; returns if it passed and the machine may go on.
pub fn run(name: &[u8], kernels: &'static Kernels, n_core: usize, disks: Vec<Found>) {
    match name {
        b"none" => {}
        b"memory" => touch_memory(),
        b"cores" => share_work(n_core),
        b"ticks" => count_ticks(),
        b"stuck" => get_stuck(),
        b"allocate" => allocate(),
        b"conformance" => conformance(kernels),
        b"read" => read_disks(disks),
        _ => mistake(name, n_core),
    }
}

/// Makes a mistake.
fn mistake(name: &[u8], n_core: usize) {
    match name {
        b"fault-beside" => fault_on_another_core(n_core),
        b"fault-together" => fault_on_all_cores(n_core),
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
        _ => fail(Status::CommandLine, format_args!("test={}: there is no such test", name.escape_ascii())),
    }
}

/// A mistake of the runtime, by name, and the pass in which it is made: `test=divide at_pass=3`.
#[derive(Clone, Copy)]
pub struct Trap<'a> {
    /// As `run` has it.
    pub name: &'a [u8],
    /// From 1 on.
    pub pass: u64,
}

impl Trap<'_> {
    /// Makes the mistake if its time has come: inside of a pass, behind its first layer.
    pub fn spring(&self, n_core: usize) {
        if progress::now() != (self.pass, 1) {
            return;
        }
        match self.name {
            // Nothing will say that the core is alive: the limit is that of the pass.
            b"stuck" => wait_for_ever(),
            b"allocate" => {
                black_box(Vec::<u8>::with_capacity(black_box(100)));
            }
            name => mistake(name, n_core),
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

/// All memory that is left, but what the heap may still need: every large page is written and read.
fn touch_memory() {
    const STEP: usize = 1 << 20;
    let n_byte = memory::free().bytes().saturating_sub(8 << 20);
    let Some(range) = memory::take_unmapped(n_byte) else {
        line!("axiom: no {n_byte} bytes of memory");
        exit(Status::Memory);
    };
    memory::map_memory(range);
    let places = || (range.start..range.end).step_by(STEP).map(|address| address as *mut u64);
    for place in places() {
        // SAFETY: mapped, and nobody else's.
        unsafe { place.write_volatile(place as u64 * 7) };
    }
    // SAFETY: as above.
    let is_kept = places().all(|place| unsafe { place.read_volatile() } == place as u64 * 7);
    if !is_kept {
        line!("axiom: memory does not keep what is written");
        exit(Status::Test);
    }
    line!(
        "axiom: {} MiB of memory from {:#x} to {:#x} keep what is written",
        range.bytes() >> 20,
        range.start,
        range.end
    );
}

/// Phases of work on all cores: every chunk is done once, and every core takes part.
fn share_work(n_core: usize) {
    const N_ROUND: usize = 5;
    const N_PHASE: usize = 20;
    const N_CHUNK: usize = 64;
    let machine = Machine::new(n_core);
    let done = [const { AtomicUsize::new(0) }; N_CORE_MAX];
    let mut phases = Phases::new();
    for _ in 0..N_ROUND {
        phases.reset();
        machine.run(&|worker| {
            let mut member = phases.join(&machine);
            for _ in 0..N_PHASE {
                let result = member.phase(N_CHUNK, |_| {
                    done[worker].fetch_add(1, Ordering::Relaxed);
                    for _ in 0..200 {
                        core::hint::spin_loop();
                    }
                });
                assert!(result.is_ok(), "nobody has cancelled");
            }
        });
    }
    let total: usize = done.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    assert_eq!(total, N_ROUND * N_PHASE * N_CHUNK, "chunks that were done");
    for (core, n) in done[..n_core].iter().enumerate() {
        line!("axiom: core {core} has done {} of {total} chunks", n.load(Ordering::Relaxed));
    }
}

/// Ticks come at their time.
fn count_ticks() {
    const N_TICK: u64 = 20;
    watchdog::start();
    watchdog::take_ticks();
    let start = clock::now_us();
    let mut n = 0;
    while n < N_TICK {
        n += watchdog::take_ticks();
        watchdog::arm(1_000_000);
    }
    let us = clock::now_us() - start;
    watchdog::stop();
    line!("axiom: {n} ticks in {us} us, expected {}", N_TICK * TICK_US);
}

/// A core that never comes to a boundary is found.
fn get_stuck() {
    watchdog::start();
    watchdog::arm(300_000);
    wait_for_ever();
}

fn wait_for_ever() {
    loop {
        core::hint::spin_loop();
    }
}

/// A fault on any core ends the machine.
fn fault_on_another_core(n_core: usize) {
    let machine = Machine::new(n_core);
    let is_over = AtomicUsize::new(0);
    machine.run(&|worker| {
        if worker == n_core - 1 {
            read(0);
        }
        while is_over.load(Ordering::Relaxed) == 0 {
            core::hint::spin_loop();
        }
    });
}

/// Faults on all cores at once end the machine with one report.
fn fault_on_all_cores(n_core: usize) {
    let n_there = AtomicUsize::new(0);
    Machine::new(n_core).run(&|_| {
        n_there.fetch_add(1, Ordering::SeqCst);
        while n_there.load(Ordering::SeqCst) < n_core {
            core::hint::spin_loop();
        }
        read(0);
    });
}

/// After initialisation nothing may allocate.
fn allocate() {
    line!("axiom: {} allocations so far", heap::n_allocation());
    heap::seal();
    black_box(Vec::<u8>::with_capacity(black_box(100)));
    heap::unseal();
    exit(Status::Test)
}

/// Every disk from end to end, twice, in the largest requests with as many under way as it takes, and the sum of its bytes.
fn read_disks(disks: Vec<Found>) {
    for Found { name, mut disk } in disks {
        let n_byte = disk.driver().bytes_request_max().min(1 << 20);
        let n_slot = disk.driver().n_request_max().min(16);
        let layout = Layout::from_size_align(n_byte * n_slot, 4096).expect("a small size");
        // SAFETY: not of size zero.
        let buffer = unsafe { alloc_zeroed(layout) };
        assert!(!buffer.is_null(), "no memory for reads");
        let total = disk.bytes() / n_byte as u64;
        for _ in 0..2 {
            let start = clock::now_us();
            let (mut next, mut done, mut sum) = (0, 0, 0u64);
            let mut free: Vec<usize> = (0..n_slot).collect();
            while done < total {
                while next < total
                    && let Some(slot) = free.pop()
                {
                    let to = buffer.wrapping_add(slot * n_byte);
                    // SAFETY: the slot's bytes are nobody else's.
                    assert!(unsafe { disk.submit(slot as u64, next * n_byte as u64, to, n_byte) });
                    next += 1;
                }
                let Some((slot, result)) = disk.poll() else { continue };
                if let Err(fault) = result {
                    line!("axiom: {name}: {} bytes at {}: {}", fault.n_byte, fault.offset, fault.error);
                    exit(Status::Device);
                }
                // SAFETY: the read into the slot has ended.
                let bytes = unsafe { core::slice::from_raw_parts(buffer.wrapping_add(slot as usize * n_byte), n_byte) };
                // Only the first words: the disk is measured, not the sum.
                sum = bytes[..64].iter().fold(sum, |sum, &byte| sum.wrapping_add(byte.into()));
                free.push(slot as usize);
                done += 1;
            }
            let us = (clock::now_us() - start).max(1);
            let (n_reset, n_retry) = disk.n_trouble();
            line!(
                "axiom: {name}: {total} reads of {n_byte} bytes, {n_slot} under way: {us} us, {} MB/s, sum {sum}, {n_reset} resets, {n_retry} retries",
                total * n_byte as u64 / us
            );
        }
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
