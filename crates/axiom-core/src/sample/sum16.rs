//! The one order in which weights are added: `sum16` of `docs/arithmetic.md`, in binary64, lane = token mod 16.
//!
//! A token that is not added is a token whose weight is +0, so a sum over few candidates takes time for few. What
//! counts is that the tokens of a lane come in ascending order.

/// Sixteen partial sums.
#[derive(Default)]
pub struct Sum16([f64; 16]);

impl Sum16 {
    /// Adds the weight of `token`.
    #[inline(always)]
    pub fn add(&mut self, token: u32, weight: f64) {
        self.0[(token & 15) as usize] += weight;
    }

    /// The sum over all tokens, `values` `[n_vocab]`. Lane by lane, so that it becomes vector code.
    #[inline(always)]
    pub fn of_all(values: &[f64]) -> f64 {
        let mut sums = [0.0; 16];
        let (chunks, rest) = values.as_chunks::<16>();
        for chunk in chunks {
            for lane in 0..16 {
                sums[lane] += chunk[lane];
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += value;
        }
        Sum16(sums).total()
    }

    /// Joins the partial sums by the fixed tree.
    pub fn total(mut self) -> f64 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                self.0[lane] += self.0[lane + half];
            }
        }
        self.0[0]
    }
}
