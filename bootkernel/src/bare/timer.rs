//! What is reckoned about a timer: how fast it counts, and which of its ticks are new.

use core::sync::atomic::{AtomicU64, Ordering};

/// How far a timer and the time stamp counter have gone in the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Counts of the timer.
    pub counts: u32,
    /// Counts of the other, from before the timer was started until after it was read.
    pub tsc: u64,
}

/// Counts of the timer for `tsc` of the other. Whatever comes between looking at the one and at the other, as another program
/// on the host's processor, makes the time seem longer than what the timer has counted: the sample with the least time for
/// each count is the truest.
pub fn counts_for(samples: impl Iterator<Item = Sample>, tsc: u64) -> u32 {
    let product = |counts: u32, tsc: u64| u128::from(counts) * u128::from(tsc);
    let truest = samples.filter(|sample| sample.tsc > 0).reduce(|best, sample| {
        if product(sample.counts, best.tsc) > product(best.counts, sample.tsc) { sample } else { best }
    });
    let counts = truest.map_or(0, |Sample { counts, tsc: measured }| product(counts, tsc) / u128::from(measured));
    counts.clamp(1, u32::MAX.into()) as u32
}

/// Ticks that were seen. Several cores look, and some that has read the count is overtaken by one with a later count: each tick
/// is seen once all the same.
#[derive(Default)]
pub struct Seen(AtomicU64);

impl Seen {
    /// None.
    pub const fn new() -> Seen {
        Seen(AtomicU64::new(0))
    }

    /// Whether there are none after the first `now`.
    pub fn is_all(&self, now: u64) -> bool {
        now <= self.0.load(Ordering::Relaxed)
    }

    /// How many of the first `now` are new; they are seen then.
    pub fn take(&self, now: u64) -> u64 {
        now.saturating_sub(self.0.fetch_max(now, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(samples: &[(u32, u64)], tsc: u64) -> u32 {
        counts_for(samples.iter().map(|&(counts, tsc)| Sample { counts, tsc }), tsc)
    }

    #[test]
    fn the_sample_that_nothing_came_between_counts() {
        // 3 of the one for 1 of the other; a rest between the looks is in the time alone.
        assert_eq!(counts(&[(1000, 3000)], 60_000), 20_000);
        assert_eq!(counts(&[(1000, 33_000), (1001, 3003), (1000, 4000)], 60_000), 20_000);
        // A rest while the timer counts is in both.
        assert_eq!(counts(&[(11_000, 33_000), (1000, 3500)], 60_000), 20_000);
        // One that has come to its end counts no more.
        assert_eq!(counts(&[(u32::MAX, 1 << 40), (1000, 3000)], 60_000), 20_000);
    }

    #[test]
    fn a_timer_that_cannot_be_measured_has_a_period_all_the_same() {
        assert_eq!(counts(&[], 1000), 1);
        assert_eq!(counts(&[(0, 10), (0, 0)], 1000), 1);
        assert_eq!(counts(&[(u32::MAX, 1)], u64::MAX), u32::MAX);
    }

    #[test]
    fn a_count_that_was_read_before_another_gives_no_tick_twice() {
        let seen = Seen::new();
        assert_eq!((seen.take(5), seen.take(6), seen.take(5), seen.take(6)), (5, 1, 0, 0));
        assert_eq!((seen.is_all(5), seen.is_all(6), seen.is_all(7)), (true, true, false));
        assert_eq!(seen.take(9), 3);
    }
}
