//! `Shares`: how the pieces of a phase are cut into chunks, the large ones first.
//!
//! A large chunk is a long run of memory for one worker, which reads it faster than short runs in turn with others; small
//! ones at the end let the workers finish together. In each round every worker may take an equal part of one half of what is
//! left, until a part would be less than `least`.

use core::ops::Range;

/// `n` pieces in chunks for `n_worker` workers.
#[derive(Clone, Copy, Debug)]
pub struct Shares {
    n: usize,
    n_worker: usize,
    least: usize,
}

impl Shares {
    /// Chunks of at least `least` pieces (but for the last), of `n` in all.
    pub fn new(n: usize, n_worker: usize, least: usize) -> Shares {
        // One worker has nobody to share with.
        let least = if n_worker == 1 { n } else { least };
        Shares { n, n_worker, least: least.max(1) }
    }

    /// The rounds: first chunk, first piece, and pieces of a chunk. The last round takes all that is left.
    fn rounds(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let (mut chunk, mut start, mut is_over) = (0, 0, false);
        core::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let size = (self.n - start) / (2 * self.n_worker);
            is_over = size <= self.least;
            let round = (chunk, start, size.max(self.least));
            chunk += self.n_worker;
            start += self.n_worker * size;
            Some(round)
        })
    }

    /// Chunks in all.
    pub fn n_chunk(self) -> usize {
        self.rounds().last().map_or(0, |(chunk, start, size)| chunk + (self.n - start).div_ceil(size))
    }

    /// The pieces of a chunk.
    pub fn range(self, chunk: usize) -> Range<usize> {
        let round = self.rounds().take_while(|(first, ..)| *first <= chunk).last();
        let (first, start, size) = round.expect("the first round begins with chunk 0");
        let start = (start + (chunk - first) * size).min(self.n);
        start..(start + size).min(self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use alloc::vec::Vec;

    #[test]
    fn every_piece_is_in_one_chunk() {
        for n in (0..70).chain([100, 704, 2000, 9496]) {
            for n_worker in [1, 2, 3, 7, 64] {
                for least in [0, 1, 2, 5, 100] {
                    let shares = Shares::new(n, n_worker, least);
                    let mut next = 0;
                    for chunk in 0..shares.n_chunk() {
                        let range = shares.range(chunk);
                        assert!(range.start == next && range.end > next, "{shares:?}: chunk {chunk} is {range:?}");
                        next = range.end;
                    }
                    assert_eq!(next, n, "{shares:?}");
                }
            }
        }
    }

    #[test]
    fn chunks_shrink_to_the_least() {
        let shares = Shares::new(1000, 2, 10);
        let sizes: Vec<usize> = (0..shares.n_chunk()).map(|chunk| shares.range(chunk).len()).collect();
        assert_eq!(sizes[..6], [250, 250, 125, 125, 62, 62]);
        assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]), "{sizes:?}");
        assert_eq!(Shares::new(1000, 1, 10).n_chunk(), 1);
    }
}
