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
        Self { key: key + 0.0, token }
    }
}

/// Descending by key, ties to the lower token.
#[inline(always)]
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.key.total_cmp(&a.key).then(a.token.cmp(&b.token))
}

/// The tokens in play.
pub struct Candidates {
    list: Vec<Candidate>,
    /// The first so many stand in order of rank, before all others.
    n_ranked: usize,
    /// The first so many rank before all others, in any order.
    n_front: usize,
}

impl Candidates {
    /// No candidate yet, with room for `capacity`.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity), n_ranked: 0, n_front: 0 }
    }

    /// The candidates, in whatever order they stand.
    pub fn as_slice(&self) -> &[Candidate] {
        &self.list
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The largest key; -infinity if there is no candidate.
    pub fn key_max(&self) -> f64 {
        // Several at a time: one maximum need not wait for the one before.
        let mut most = [f64::NEG_INFINITY; 8];
        let (chunks, rest) = self.list.as_chunks::<8>();
        for chunk in chunks {
            for (most, candidate) in most.iter_mut().zip(chunk) {
                *most = most.max(candidate.key);
            }
        }
        rest.iter().map(|candidate| candidate.key).chain(most).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Puts all in play, which come in ascending order of token and have no key of -infinity.
    ///
    /// Allocates nothing while there is room for `all`.
    pub fn keep_all(&mut self, all: impl Iterator<Item = Candidate>) {
        self.clear();
        self.list.extend(all);
    }

    /// Puts in play the `k` best of `all`, which come in ascending order of token. Keys of -infinity are left out.
    ///
    /// Allocates nothing while there is room for `all`. If `all` are no more than `k`, they stay in their order.
    pub fn keep_best(&mut self, k: usize, all: impl Iterator<Item = Candidate>) {
        self.clear();
        // Filling to twice k before cutting back makes each cut pay for itself. Nothing has been cut while the bound
        // is -infinity; after that, a candidate that only equals the worst one kept loses by its higher token.
        let full = k.saturating_mul(2).saturating_add(64).min(self.list.capacity());
        let mut bound = f64::NEG_INFINITY;
        for candidate in all {
            if candidate.key > bound {
                self.list.push(candidate);
                if self.list.len() == full && full > k {
                    self.cut(k);
                    bound = self.list[k - 1].key;
                }
            }
        }
        if self.list.len() > k {
            self.cut(k);
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.n_ranked = 0;
        self.n_front = 0;
    }

    /// Leaves the `k` best, the worst of them last.
    fn cut(&mut self, k: usize) {
        self.list.select_nth_unstable_by(k - 1, by_rank);
        self.list.truncate(k);
    }

    /// The candidate of rank `idx`, 0 the best; `None` after the last. Ranks no further than it is asked.
    #[inline]
    pub fn get(&mut self, idx: usize) -> Option<Candidate> {
        while idx >= self.n_ranked && self.n_ranked < self.list.len() {
            self.rank_more();
        }
        self.list.get(idx).copied()
    }

    /// Puts the next stretch in order, each three times as long as all before it.
    fn rank_more(&mut self) {
        let end = if self.n_ranked < self.n_front { self.n_front } else { self.list.len() };
        let rest = &mut self.list[self.n_ranked..end];
        let n_more = rest.len().min((3 * self.n_ranked).max(64));
        if n_more < rest.len() {
            rest.select_nth_unstable_by(n_more - 1, by_rank);
        }
        rest[..n_more].sort_unstable_by(by_rank);
        self.n_ranked += n_more;
    }

    /// Moves those whose key is at least `bound` to the front, where ranking looks first.
    ///
    /// A bound below all that will be asked for saves going through the others again and again; whatever the bound,
    /// the ranks are the same.
    pub fn bring_to_front(&mut self, bound: f64) {
        self.n_front = self.n_ranked;
        for idx in self.n_ranked..self.list.len() {
            if self.list[idx].key >= bound {
                self.list.swap(idx, self.n_front);
                self.n_front += 1;
            }
        }
    }

    /// Keeps the first `n` by rank, all of which have been asked for.
    pub fn truncate(&mut self, n: usize) {
        debug_assert!(n <= self.n_ranked, "only ranked candidates have a first n");
        self.list.truncate(n);
        self.n_ranked = self.n_ranked.min(n);
        self.n_front = self.n_front.min(n);
    }

    /// Keeps those whose key is at least `bound`.
    pub fn keep_from(&mut self, bound: f64) {
        self.list.retain(|candidate| candidate.key >= bound);
        // What goes from the ranked ones, or from the front, goes from its end, and then none is left behind it.
        self.n_ranked = self.n_ranked.min(self.list.len());
        self.n_front = self.n_front.min(self.list.len());
    }

    /// Ranks by `key` of the token from now on.
    pub fn rank_by(&mut self, mut key: impl FnMut(u32) -> f64) {
        for candidate in &mut self.list {
            *candidate = Candidate::new(key(candidate.token), candidate.token);
        }
        self.n_ranked = 0;
        self.n_front = 0;
    }
}
