//! `Awake`: time as someone who waits counts it, without what the whole machine slept through.

use super::Clock;

/// What lies between two looks counts for so much at most. Who waits looks all the time; where a look took longer, the machine
/// was stopped, or computed something else, and the device was not asked.
pub const LOOK_MAX_US: u64 = 100_000;

/// Such a clock.
pub struct Awake {
    clock: Clock,
    last_us: u64,
    us: u64,
}

impl Awake {
    /// From now on.
    pub fn new(clock: Clock) -> Awake {
        Awake { clock, last_us: clock(), us: 0 }
    }

    /// Looks: microseconds since the beginning.
    pub fn now(&mut self) -> u64 {
        let now_us = (self.clock)();
        self.us += now_us.saturating_sub(self.last_us).min(LOOK_MAX_US);
        self.last_us = now_us;
        self.us
    }
}
