//! The timer's tick, and what it is for: it ticks the layer lock, and it finds a core that is stuck. Nothing else interrupts
//! the runtime.
//!
//! The interrupt itself only counts, and notes the time. The runtime hands the ticks to the lock when it next asks for the
//! time, which it does several times in each layer, with the moments at which they came.

use crate::nub::{core_pages, entry_tsc};
use crate::{apic, clock};
use axiom_core::schedule::LayerLock;
use bare::timer::Seen;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Time from tick to tick: seldom enough to cost nothing where a tick costs a fifth of a millisecond.
pub const TICK_US: u64 = 20_000;

/// Ticks that were seen.
static SEEN: Seen = Seen::new();
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

/// What the first core may take from one sign of life to the next, in ticks.
static LIMIT: AtomicU64 = AtomicU64::new(0);
/// The last sign of life: ticks that had come, and the time.
static SIGN_TICKS: AtomicU64 = AtomicU64::new(0);
static SIGN_US: AtomicU64 = AtomicU64::new(0);
/// The longest time between two of them since this was last asked.
static LONGEST_US: AtomicU64 = AtomicU64::new(0);

/// From now on the first core counts as stuck unless it gives a sign of life again within `limit_us`, each time.
pub fn arm(limit_us: u64) {
    LIMIT.store(limit_us.div_ceil(TICK_US), Ordering::Relaxed);
    sign_of_life();
    set_deadline();
}

/// It may take as long as it likes.
pub fn disarm() {
    core_pages()[0].watchdog.store(0, Ordering::Relaxed);
}

fn set_deadline() {
    let page = &core_pages()[0];
    // The tick that is under way may come at once; and 0 is off.
    let at = page.ticks.load(Ordering::Relaxed) + LIMIT.load(Ordering::Relaxed) + 1;
    page.watchdog.store(at + 1, Ordering::Relaxed);
}

/// The first core is where it ought to be; answers the time. A machine that its host has stopped does not tick meanwhile, and
/// has not computed either.
fn sign_of_life() -> u64 {
    let (now_us, n_tick) = (clock::now_us(), core_pages()[0].ticks.load(Ordering::Relaxed));
    let us = now_us.saturating_sub(SIGN_US.swap(now_us, Ordering::Relaxed));
    let most_us = (n_tick.saturating_sub(SIGN_TICKS.swap(n_tick, Ordering::Relaxed)) + 1) * TICK_US;
    LONGEST_US.fetch_max(us.min(most_us), Ordering::Relaxed);
    now_us
}

/// Ticks that have come since the last sign of life.
pub fn n_tick_without_sign() -> u64 {
    core_pages()[0].ticks.load(Ordering::Relaxed).saturating_sub(SIGN_TICKS.load(Ordering::Relaxed))
}

/// The longest that the first core has gone without a sign of life since this was last asked; being asked is one.
pub fn take_longest_us() -> u64 {
    sign_of_life();
    LONGEST_US.swap(0, Ordering::Relaxed)
}

/// The clock for those who wait for a device, and look at it all the while: they have limits of their own, after which there is
/// an error that names the device, and some devices are healthy and slower than any layer. Waiting is a sign of life.
pub fn waiting_us() -> u64 {
    let now_us = sign_of_life();
    if core_pages()[0].watchdog.load(Ordering::Relaxed) != 0 {
        set_deadline();
    }
    now_us
}

/// Ticks since this was last asked.
pub fn take_ticks() -> u64 {
    SEEN.take(core_pages()[0].ticks.load(Ordering::Relaxed))
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
    if SEEN.is_all(page.ticks.load(Ordering::Relaxed)) {
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
