//! `Silence`: how long a device has answered nothing.

/// A device that answers nothing for so long will not answer any more.
const MOST_US: u64 = 30_000_000;
/// What one wait counts for at most: where it took longer, not the device slept but the whole program, as a stopped process
/// and a laptop with its lid shut do.
const WAIT_MAX_US: u64 = 1_000_000;

/// How long nothing has come.
pub struct Silence {
    last_us: u64,
    waited_us: u64,
}

impl Silence {
    /// From now on.
    pub fn begin(now_us: u64) -> Silence {
        Silence { last_us: now_us, waited_us: 0 }
    }

    /// One wait more.
    pub fn go_on(&mut self, now_us: u64) {
        self.waited_us += now_us.saturating_sub(self.last_us).min(WAIT_MAX_US);
        self.last_us = now_us;
    }

    /// Something has come.
    pub fn ends(&mut self) {
        self.waited_us = 0;
    }

    /// What was waited, if that is too long.
    pub fn too_long(&self) -> Option<u64> {
        (self.waited_us > MOST_US).then_some(self.waited_us)
    }
}
