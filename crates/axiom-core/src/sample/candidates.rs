//! Tokens in play, and how to rank no more of them than somebody looks at.
//!
//! The specification sorts the whole vocabulary at every step. The order of rank is total (no two candidates are
//! equal in it), so "the k best" and "the next best" mean the same however they are found, and sorting in place need
//! not be stable: these functions find them by selection, in time linear in the vocabulary.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// A token and the number it is ranked by.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// Larger is better. Never NaN and never -0, so that comparing bits in total order is comparing numbers.
    pub key: f64,
    /// The token.
    pub token: u32,
}

impl Candidate {
    /// A candidate whose key is `key`, with -0 made +0.
    #[inline(always)]
    pub fn new(key: f64, token: u32) -> Self {
        Self {
            key: key + 0.0,
            token,
        }
    }
}

/// Descending by key, ties to the lower token.
#[inline(always)]
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.key.total_cmp(&a.key).then(a.token.cmp(&b.token))
}

/// Leaves in `kept` the `k` best of `candidates`, which come in ascending order of token, in no particular order.
///
/// `kept` must have room for `min(n, 2 k + 64)` candidates, n being how many come: it never grows.
pub fn keep_best(kept: &mut Vec<Candidate>, k: usize, candidates: impl Iterator<Item = Candidate>) {
    kept.clear();
    // Filling to twice k before cutting back makes each cut pay for itself. Nothing has been cut while the bound is
    // -infinity; after that, a candidate that only equals the worst one kept loses by its higher token.
    let full = k.saturating_mul(2).saturating_add(64).min(kept.capacity());
    let mut bound = f64::NEG_INFINITY;
    for candidate in candidates {
        if candidate.key > bound {
            kept.push(candidate);
            if kept.len() == full && full > k {
                kept.select_nth_unstable_by(k - 1, by_rank);
                kept.truncate(k);
                bound = kept[k - 1].key;
            }
        }
    }
    if kept.len() > k {
        kept.select_nth_unstable_by(k - 1, by_rank);
        kept.truncate(k);
    }
}

/// Sorts candidates by token.
pub fn sort_by_token(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by_key(|candidate| candidate.token);
}

/// Candidates in order of rank, put in place as far as they are asked for.
pub struct Ranking<'a> {
    candidates: &'a mut [Candidate],
    n_ranked: usize,
}

impl<'a> Ranking<'a> {
    /// Ranks `candidates`, whatever their order is.
    pub fn new(candidates: &'a mut [Candidate]) -> Self {
        Self {
            candidates,
            n_ranked: 0,
        }
    }

    /// The candidate of rank `idx`, 0 the best; `None` after the last.
    #[inline]
    pub fn get(&mut self, idx: usize) -> Option<Candidate> {
        while idx >= self.n_ranked && self.n_ranked < self.candidates.len() {
            self.rank_more();
        }
        self.candidates.get(idx).copied()
    }

    /// Puts the next stretch in order, each four times as long as all before it.
    fn rank_more(&mut self) {
        let rest = &mut self.candidates[self.n_ranked..];
        let n_more = rest.len().min((3 * self.n_ranked).max(64));
        if n_more < rest.len() {
            rest.select_nth_unstable_by(n_more - 1, by_rank);
        }
        rest[..n_more].sort_unstable_by(by_rank);
        self.n_ranked += n_more;
    }
}
