//! The timer's tick, and what it is for: it ticks the layer lock, and it finds a core that is stuck. Nothing else interrupts
//! the runtime.
//!
//! The interrupt itself only counts, and notes the time. The runtime hands the ticks to the lock when it next asks for the
//! time, which it does several times in each layer, with the moments at which they came.

use crate::nub::{core_pages, entry_tsc};
use crate::{apic, clock};
use axiom_core::schedule::LayerLock;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Time from tick to tick: seldom enough to cost nothing where a tick costs a fifth of a millisecond.
pub const TICK_US: u64 = 20_000;

/// Ticks that were seen.
static N_SEEN: AtomicU64 = AtomicU64::new(0);
/// Ticks that a lock got.
static N_HANDED_OVER: AtomicU64 = AtomicU64::new(0);

/// The lock that is ticked; null for none.
static LOCK: AtomicPtr<LayerLock> = AtomicPtr::new(null_mut());

/// Starts the ticks of the first core.
pub fn start() {
    apic::start_timer(TICK_US);
}

/// Ends them.
pub fn stop() {
    disarm();
    apic::stop_timer();
}

/// From now on the first core counts as stuck unless this is called again within `limit_us`.
pub fn arm(limit_us: u64) {
    let page = &core_pages()[0];
    let at = page.ticks.load(Ordering::Relaxed) + limit_us.div_ceil(TICK_US) + 1;
    page.watchdog.store(at + 1, Ordering::Relaxed);
}

/// It may take as long as it likes.
pub fn disarm() {
    core_pages()[0].watchdog.store(0, Ordering::Relaxed);
}

/// Ticks since this was last asked.
pub fn take_ticks() -> u64 {
    let now = core_pages()[0].ticks.load(Ordering::Relaxed);
    now - N_SEEN.swap(now, Ordering::Relaxed)
}

/// While `work` runs, ticks go to `lock`.
pub fn ticking<T>(lock: &LayerLock, work: impl FnOnce() -> T) -> T {
    take_ticks();
    LOCK.store(core::ptr::from_ref(lock).cast_mut(), Ordering::Release);
    let result = work();
    LOCK.store(null_mut(), Ordering::Release);
    result
}

/// Hands over the ticks that have come; called whenever somebody asks for the time.
pub fn hand_over() {
    let page = &core_pages()[0];
    if page.ticks.load(Ordering::Relaxed) == N_SEEN.load(Ordering::Relaxed) {
        return;
    }
    let lock = LOCK.load(Ordering::Acquire);
    if lock.is_null() {
        return;
    }
    let last_us = clock::us(page.tick_tsc.load(Ordering::Relaxed).saturating_sub(entry_tsc()));
    let n = take_ticks();
    N_HANDED_OVER.fetch_add(n, Ordering::Relaxed);
    for k in (0..n).rev() {
        // SAFETY: `ticking` has lent it until its work is done, and who asks for the time is part of that work.
        unsafe { &*lock }.tick(last_us.saturating_sub(k * TICK_US));
    }
}

/// Ticks that came while a pass ran.
pub fn n_handed_over() -> u64 {
    N_HANDED_OVER.load(Ordering::Relaxed)
}
