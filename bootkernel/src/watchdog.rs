//! The timer's tick, and what it is for: it counts time for the layer lock, and it finds a core that is stuck. Nothing else
//! interrupts the runtime.

use crate::apic;
use crate::nub::core_pages;
use core::sync::atomic::{AtomicU64, Ordering};

/// Time from tick to tick: seldom enough to cost nothing where a tick costs a fifth of a millisecond.
pub const TICK_US: u64 = 20_000;

/// Ticks that were seen.
static N_SEEN: AtomicU64 = AtomicU64::new(0);

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
