//! The other cores: their stacks, their start, and the work that they take part in.

use crate::nub::{self, N_CORE_MAX, Page};
use crate::spin::Spin;
use crate::{apic, clock, line, memory};
use axiom_core::kernels::CpuFeatures;
use bare::boot::{MemoryMap, Range};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Memory of a core: a page that is not there, its stack, another such page, its stack for faults.
const BYTES_CORE: u64 = 1 << 20;
const BYTES_GUARD: u64 = 4096;
const BYTES_FAULT_STACK: u64 = 64 << 10;
/// The share of the free memory that all of these may take: one in so many.
const MOST_FOR_STACKS: u64 = 4;

/// Where they wake up; `nub/cores.s` puts code there.
const TRAMPOLINE: Range = Range { start: 0x8000, end: 0x9000 };

/// Start of the memory of each core but the first.
static STACKS: [AtomicU64; N_CORE_MAX] = [const { AtomicU64::new(0) }; N_CORE_MAX];
/// Cores that have come up, the first included.
static N_UP: AtomicUsize = AtomicUsize::new(1);
/// How many cores compute, the first included; 0 until that is decided. A core that comes up later than that, or was given up
/// while it came, has a number that nobody counts with, and stops.
static N_CORE: AtomicUsize = AtomicUsize::new(0);
/// Whether some core has other instruction sets than the first.
static IS_UNLIKE: AtomicBool = AtomicBool::new(false);
/// Those of the first.
static FEATURES: Spin<Option<CpuFeatures>> = Spin::new(None);

fn stack(base: u64) -> Range {
    Range { start: base + BYTES_GUARD, end: base + BYTES_CORE - BYTES_GUARD - BYTES_FAULT_STACK }
}

fn fault_stack(base: u64) -> Range {
    Range { start: base + BYTES_CORE - BYTES_FAULT_STACK, end: base + BYTES_CORE }
}

/// Whether the bytes are on a stack of one of these cores.
pub fn is_stack(address: u64, n_byte: u64) -> bool {
    let within = |range: Range| range.start <= address && address.saturating_add(n_byte) <= range.end;
    STACKS
        .iter()
        .map(|base| base.load(Ordering::Relaxed))
        .any(|base| base != 0 && (within(stack(base)) || within(fault_stack(base))))
}

/// Whether the address is below the end of one of these stacks.
pub fn is_guard(address: u64) -> bool {
    STACKS.iter().map(|base| base.load(Ordering::Relaxed)).any(|base| {
        base != 0
            && ((base..base + BYTES_GUARD).contains(&address)
                || (stack(base).end..fault_stack(base).start).contains(&address))
    })
}

/// Starts up to `n_wanted` − 1 cores of those that firmware lists; answers how many there are then, the first included.
pub fn start(listed: &[u32], n_wanted: usize, memory_map: &MemoryMap) -> usize {
    let n_core = start_all(listed, n_wanted, memory_map);
    N_CORE.store(n_core, Ordering::SeqCst);
    n_core
}

fn start_all(listed: &[u32], n_wanted: usize, memory_map: &MemoryMap) -> usize {
    let this = apic::id();
    *FEATURES.lock() = Some(CpuFeatures::detect());
    let others = || listed.iter().copied().filter(|&id| id != this);
    let n_wanted = others().count().min(n_wanted.min(N_CORE_MAX) - 1);
    if n_wanted > 0 && !memory_map.is_free(&TRAMPOLINE) {
        line!("axiom: firmware keeps {:#x}, where other cores would start: one core is used", TRAMPOLINE.start);
        return 1;
    }
    // The model needs memory more than it needs cores.
    let n_other = n_wanted.min((memory::free().bytes() / MOST_FOR_STACKS / BYTES_CORE) as usize);
    if n_other < n_wanted {
        line!("axiom: too little memory for the stacks of more than {} cores; going on with those", n_other + 1);
    }
    let Some(stacks) = memory::take_unmapped(n_other as u64 * BYTES_CORE) else { return 1 };
    let mut core = 1;
    for id in others() {
        if core > n_other {
            break;
        }
        if !apic::reaches(id) {
            line!("axiom: firmware lists a core with APIC {id:#x}, which no message reaches; going on without it");
            continue;
        }
        let base = stacks.start + (core - 1) as u64 * BYTES_CORE;
        for range in [stack(base), fault_stack(base)] {
            nub::map(range.start, range.bytes() / Page::Small.bytes(), Page::Small, false);
        }
        STACKS[core].store(base, Ordering::SeqCst);
        apic::enlist(core, id);
        if start_one(core, id, base) {
            core += 1;
        } else {
            // It may still come, and would take the number of the next one for its own: no other is started after it.
            line!("axiom: core with APIC {id} does not answer; going on with {core}, without it and those after it");
            break;
        }
    }
    if IS_UNLIKE.load(Ordering::SeqCst) {
        line!("axiom: the cores have different instruction sets; one core is used");
        return 1;
    }
    core
}

fn start_one(core: usize, id: u32, base: u64) -> bool {
    let page = nub::start_core(core, stack(base).end, fault_stack(base).end);
    apic::send_reset(id);
    // What the architecture asks for (Intel SDM volume 3, section 9.4): 10 ms, then one message, then a second one.
    clock::pause_us(10_000);
    for patience_us in [1000, 1_000_000] {
        apic::send_start(id, page);
        let start = clock::now_us();
        while clock::now_us() - start < patience_us {
            if N_UP.load(Ordering::SeqCst) > core {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    false
}

/// The life of a core that was started.
pub fn serve(core: usize) -> ! {
    if *FEATURES.lock() != Some(CpuFeatures::detect()) {
        IS_UNLIKE.store(true, Ordering::SeqCst);
    }
    apic::set_up_core();
    N_UP.fetch_add(1, Ordering::SeqCst);
    let n_core = loop {
        match N_CORE.load(Ordering::SeqCst) {
            0 => core::hint::spin_loop(),
            n_core => break n_core,
        }
    };
    if core >= n_core {
        nub::stop();
    }
    crate::machine::WORK.serve(core)
}
