//! Time: the time stamp counter, and how fast it counts.

use crate::nub;
use crate::ports::{read_u8, read_u32, write_u8};
use core::arch::x86_64::_rdtsc;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

static KHZ: AtomicU64 = AtomicU64::new(0);

/// Who said how fast the counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The clock that KVM shares with its guests.
    KvmClock,
    /// A leaf of CPUID.
    Cpuid(u32),
    /// Counted beside the old interval timer.
    IntervalTimer,
    /// Counted beside the power-management timer of ACPI.
    PowerTimer,
    /// Nobody: times are in units of 1000 counts.
    Unknown,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::KvmClock => write!(f, "kvmclock"),
            Source::Cpuid(leaf) => write!(f, "cpuid {leaf:#x}"),
            Source::IntervalTimer => write!(f, "interval timer"),
            Source::PowerTimer => write!(f, "power-management timer"),
            Source::Unknown => write!(f, "uncalibrated"),
        }
    }
}

/// The counter.
pub fn tsc() -> u64 {
    // SAFETY: every 64-bit processor has it.
    unsafe { _rdtsc() }
}

/// Counts in a millisecond.
pub fn khz() -> u64 {
    KHZ.load(Ordering::Relaxed)
}

/// Microseconds since the kernel was entered.
pub fn now_us() -> u64 {
    us(tsc() - nub::entry_tsc())
}

/// Counts as microseconds.
pub fn us(counts: u64) -> u64 {
    (u128::from(counts) * 1000 / u128::from(khz())) as u64
}

/// Spins.
pub fn pause_us(us: u64) {
    let (start, counts) = (tsc(), us * khz() / 1000);
    while tsc() - start < counts {
        core::hint::spin_loop();
    }
}

/// Finds the speed, as far as that can be said without ACPI.
pub fn set_up() -> Source {
    let (khz, source) = kvm_clock()
        .map(|khz| (khz, Source::KvmClock))
        .or_else(from_cpuid)
        .or_else(|| Some((interval_timer()?, Source::IntervalTimer)))
        .unwrap_or((1_000_000, Source::Unknown));
    KHZ.store(khz, Ordering::Relaxed);
    source
}

/// KVM writes the scale of the counter into a page of the guest's choice.
fn kvm_clock() -> Option<u64> {
    const CLOCK: u32 = 0x4b56_4d01;
    #[repr(C, align(64))]
    struct Page([u32; 16]);
    static PAGE: crate::spin::Spin<Page> = crate::spin::Spin::new(Page([0; 16]));

    let is_virtual = nub::is_virtual();
    let [_, ebx, ecx, edx] = nub::cpuid(0x4000_0000, 0);
    if !is_virtual || [ebx, ecx, edx] != [0x4b4d_564b, 0x564b_4d56, 0x4d] {
        return None;
    }
    if nub::cpuid(0x4000_0001, 0)[0] >> 3 & 1 == 0 {
        return None;
    }
    let page = PAGE.lock();
    let words = page.0.as_ptr();
    nub::write_msr(CLOCK, words as u64 | 1);
    // SAFETY: the hypervisor has written here meanwhile; the words are the page's.
    let (multiplier, shift) = unsafe { (words.add(6).read_volatile(), words.add(7).read_volatile() as u8 as i8) };
    nub::write_msr(CLOCK, 0);
    // Nanoseconds are (count << shift) * multiplier >> 32.
    let khz = (1_000_000u128 << 32).checked_div(multiplier.into())?;
    let khz = if shift < 0 { khz << -shift } else { khz >> shift };
    u64::try_from(khz).ok().filter(|khz| *khz > 0)
}

/// The ratio to a crystal, or the hypervisor's word.
fn from_cpuid() -> Option<(u64, Source)> {
    if nub::cpuid(0, 0)[0] >= 0x15 {
        let [denominator, numerator, crystal_hz, _] = nub::cpuid(0x15, 0);
        if denominator > 0 && numerator > 0 && crystal_hz > 0 {
            let khz = u64::from(crystal_hz) * u64::from(numerator) / u64::from(denominator) / 1000;
            return Some((khz, Source::Cpuid(0x15)));
        }
    }
    let is_virtual = nub::is_virtual();
    if is_virtual && nub::cpuid(0x4000_0000, 0)[0] >= 0x4000_0010 {
        let khz = nub::cpuid(0x4000_0010, 0)[0];
        if khz > 0 {
            return Some((khz.into(), Source::Cpuid(0x4000_0010)));
        }
    }
    None
}

/// Channel 0 of the old timer counts down 1,193,182 times a second, in 16 bits, and can be read while it does.
fn interval_timer() -> Option<u64> {
    write_u8(0x43, 0x34); // channel 0, both bytes, rate generator
    write_u8(0x40, 0);
    write_u8(0x40, 0); // 65,536
    counted_beside(1_193_182, 0xFFFF, || {
        write_u8(0x43, 0);
        // What is left, turned into what has gone by.
        u32::from(!u16::from_le_bytes([read_u8(0x40), read_u8(0x40)]))
    })
}

/// Finds the speed beside the power-management timer of ACPI, at this port, for machines on which nothing else tells it.
///
/// It counts up, in 24 bits at least, whatever the machine does.
pub fn set_up_beside_power_timer(port: u16) -> Source {
    let Some(khz) = counted_beside(3_579_545, 0xFF_FFFF, || read_u32(port)) else {
        return Source::Unknown;
    };
    KHZ.store(khz, Ordering::Relaxed);
    Source::PowerTimer
}

/// Counts in a millisecond, by those during 20 ms of a timer that counts up; `mask` has the bits of its count.
fn counted_beside(ticks_per_second: u64, mask: u32, count: impl Fn() -> u32) -> Option<u64> {
    let (mut last, mut n_tick) = (count(), 0);
    let start = tsc();
    // A machine without the timer reads the same value for ever.
    let mut n_same = 0;
    while n_tick < ticks_per_second / 50 {
        let now = count();
        let n_new = now.wrapping_sub(last) & mask;
        n_tick += u64::from(n_new);
        n_same = if n_new == 0 { n_same + 1 } else { 0 };
        if n_same > 10_000 {
            return None;
        }
        last = now;
    }
    Some(u64::max(1, (tsc() - start) * ticks_per_second / n_tick / 1000))
}
