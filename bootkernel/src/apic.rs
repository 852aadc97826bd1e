//! The local APIC of each core: its timer, and messages between cores. As x2APIC, by registers of the processor, where it has
//! that; in memory elsewhere.

use crate::clock;
use crate::nub::{self, N_CORE_MAX};
use bare::timer::{Sample, counts_for};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BASE: u32 = 0x1b;
const BASE_IS_ON: u64 = 1 << 11;
const BASE_IS_X2: u64 = 1 << 10;

/// Registers, by their offset in memory; x2APIC numbers them by sixteenths.
mod register {
    pub const ID: u32 = 0x20;
    pub const SPURIOUS: u32 = 0xf0;
    pub const COMMAND: u32 = 0x300;
    pub const COMMAND_TARGET: u32 = 0x310;
    pub const TIMER: u32 = 0x320;
    pub const TIMER_START: u32 = 0x380;
    pub const TIMER_COUNT: u32 = 0x390;
    pub const TIMER_DIVIDER: u32 = 0x3e0;
    pub const END_OF_INTERRUPT: u32 = 0xb0;
}

const SPURIOUS_VECTOR: u32 = 255;
const TIMER_VECTOR: u32 = 32;

/// Where the registers are in memory; 0 means x2APIC, and 1 that nothing is set up.
static WHERE: AtomicU64 = AtomicU64::new(1);
/// The APIC of each core that was started, the first included.
static STARTED: [AtomicU32; N_CORE_MAX] = [const { AtomicU32::new(NO_APIC) }; N_CORE_MAX];
const NO_APIC: u32 = u32::MAX;

fn read(register: u32) -> u32 {
    match WHERE.load(Ordering::Relaxed) {
        0 => nub::read_msr(0x800 + (register >> 4)) as u32,
        // SAFETY: mapped by `set_up`, 32 bits at each multiple of 16.
        base => unsafe { ((base + u64::from(register)) as *const u32).read_volatile() },
    }
}

fn write(register: u32, value: u32) {
    match WHERE.load(Ordering::Relaxed) {
        0 => nub::write_msr(0x800 + (register >> 4), value.into()),
        // SAFETY: as in `read`.
        base => unsafe { ((base + u64::from(register)) as *mut u32).write_volatile(value) },
    }
}

/// Where the page of registers is in memory, if the processor has none of its own.
pub fn address() -> Option<u64> {
    let has_x2 = nub::cpuid(1, 0)[2] >> 21 & 1 == 1;
    (!has_x2).then(|| nub::read_msr(BASE) & 0xf_ffff_f000)
}

/// Takes the registers at [`address`], which is mapped, for all cores. Called once, by the first.
pub fn set_up(address: Option<u64>) {
    WHERE.store(address.unwrap_or(0), Ordering::SeqCst);
    nub::set_end_of_interrupt(address.map(|address| address + u64::from(register::END_OF_INTERRUPT)));
    set_up_core();
    enlist(0, id());
}

/// Switches this core's APIC on.
pub fn set_up_core() {
    let is_x2 = WHERE.load(Ordering::SeqCst) == 0;
    nub::write_msr(BASE, nub::read_msr(BASE) | BASE_IS_ON | if is_x2 { BASE_IS_X2 } else { 0 });
    write(register::SPURIOUS, 1 << 8 | SPURIOUS_VECTOR);
    write(register::TIMER, 1 << 16);
}

/// The number of this core's APIC.
pub fn id() -> u32 {
    let id = read(register::ID);
    if WHERE.load(Ordering::Relaxed) == 0 { id } else { id >> 24 }
}

/// Whether a message for `target` goes to that core alone: the largest number means all cores, this one too, and of a larger
/// one only a part is sent.
pub fn reaches(target: u32) -> bool {
    let everyone = if WHERE.load(Ordering::Relaxed) == 0 { u32::MAX } else { 0xff };
    target < everyone
}

fn send(target: u32, command: u32) {
    const IS_PENDING: u32 = 1 << 12;
    if WHERE.load(Ordering::Relaxed) == 0 {
        nub::write_msr(0x800 + (register::COMMAND >> 4), u64::from(target) << 32 | u64::from(command));
        return;
    }
    write(register::COMMAND_TARGET, target << 24);
    write(register::COMMAND, command);
    // A message that is never taken is not waited for.
    for _ in 0..100_000 {
        if read(register::COMMAND) & IS_PENDING == 0 {
            return;
        }
    }
}

/// Resets the core `target`.
pub fn send_reset(target: u32) {
    send(target, 0x4500);
}

/// Wakes the core `target` in 16-bit mode at `page`, a multiple of 4 KiB below 1 MiB.
pub fn send_start(target: u32, page: u8) {
    send(target, 0x4600 | u32::from(page));
}

/// Notes that core `core`, which is about to be started, has the APIC `id`.
pub fn enlist(core: usize, id: u32) {
    STARTED[core].store(id, Ordering::SeqCst);
}

/// Stops every core but this one for good, by a non-maskable interrupt. Those that were never started are the firmware's, and
/// let be: an interrupt could reset the machine there.
pub fn stop_others() {
    let this = nub::core();
    for (core, id) in STARTED.iter().enumerate() {
        let id = id.load(Ordering::SeqCst);
        if core != this && id != NO_APIC {
            nub::core_pages()[core].stop.store(1, Ordering::SeqCst);
            send(id, 0x4400);
        }
    }
}

/// Wakes all other cores that sleep, by a tick out of turn.
pub fn wake_others() {
    send(0, 0xc_4000 | TIMER_VECTOR);
}

/// How far the timer counts while the time stamp counter does.
fn measure_timer(us: u64) -> Sample {
    write(register::TIMER_DIVIDER, 0b1011); // by 1
    write(register::TIMER, 1 << 16);
    let start = clock::tsc();
    write(register::TIMER_START, u32::MAX);
    clock::pause_us(us);
    let counts = u32::MAX - read(register::TIMER_COUNT);
    Sample { counts, tsc: clock::tsc() - start }
}

/// Lets this core's timer tick every `period_us`.
pub fn start_timer(period_us: u64) {
    const N_SAMPLE: usize = 5;
    const MEASURED_US: u64 = 2000;
    const IS_PERIODIC: u32 = 1 << 17;
    let samples = (0..N_SAMPLE).map(|_| measure_timer(MEASURED_US));
    let counts = counts_for(samples, period_us * clock::khz() / 1000);
    write(register::TIMER, IS_PERIODIC | TIMER_VECTOR);
    write(register::TIMER_START, counts);
    nub::interrupts(true);
}

/// Stops this core's timer.
pub fn stop_timer() {
    nub::interrupts(false);
    write(register::TIMER, 1 << 16);
    write(register::TIMER_START, 0);
}
