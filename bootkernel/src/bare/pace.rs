//! `Pace`: how long a core may compute without a sign of life before it counts as stuck, by how long layers took so far.

/// What no layer was timed for yet: so long, and so much more for each row of the pass.
const FIRST_LIMIT_US: u64 = 60_000_000;
const FIRST_LIMIT_ROW_US: u64 = 10_000_000;
/// No limit is shorter. A host that is busy takes a core away for a while.
const LEAST_US: u64 = 1_600_000;
/// A core is stuck after so many times the longest so far, for as many rows.
const FACTOR: u64 = 50;
/// What a layer takes whatever its rows are is in no number by the row: it may always take so many times the longest.
const FACTOR_WHOLE: u64 = 4;

/// The layers so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// The longest, for each row of its pass.
    row_us: u64,
    longest_us: u64,
}

impl Pace {
    /// A layer has computed `us` in a pass of that many rows.
    pub fn note(&mut self, us: u64, n_row: u64) {
        self.row_us = self.row_us.max(us.div_ceil(n_row.max(1)));
        self.longest_us = self.longest_us.max(us);
    }

    /// What the next may take in a pass of that many rows.
    pub fn limit_us(&self, n_row: u64) -> u64 {
        if self.longest_us == 0 {
            return FIRST_LIMIT_ROW_US.saturating_mul(n_row).saturating_add(FIRST_LIMIT_US);
        }
        let scaled = FACTOR.saturating_mul(self.row_us).saturating_mul(n_row);
        scaled.max(FACTOR_WHOLE.saturating_mul(self.longest_us)).max(LEAST_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_layer_may_take_longer_for_more_rows() {
        assert_eq!(Pace::default().limit_us(1), 70_000_000);
        assert_eq!(Pace::default().limit_us(256), 2_620_000_000);
    }

    #[test]
    fn a_layer_that_takes_the_same_for_one_row_as_for_many_is_not_stuck() {
        let mut pace = Pace::default();
        pace.note(8_000_000, 256);
        assert!(pace.limit_us(1) > 8_000_000, "{}", pace.limit_us(1));
        assert!(pace.limit_us(256) >= 50 * 8_000_000);
    }

    #[test]
    fn more_rows_may_take_longer_and_nothing_is_stuck_at_once() {
        let mut pace = Pace::default();
        pace.note(2000, 1);
        pace.note(1000, 1);
        assert_eq!((pace.limit_us(1), pace.limit_us(256)), (LEAST_US, 50 * 256 * 2000));
    }
}
