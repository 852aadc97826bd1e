//! How fast this machine reads memory from front to back: about the most that a decoding engine, which reads all of its weights
//! for every token, can reach. Reading from several places in turn may bring a little more.
//!
//! Every thread sums a slice of its own, much larger than its share of the caches, from front to back; nothing is written.
//! Each round is timed from the moment that all threads have come to its start until the last has ended.

use crate::limits;
use crate::region::{HUGE_PAGE, Region, RegionError};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What each thread reads, at least, where memory allows.
pub const SLICE_BYTES: usize = 256 << 20;

/// A slice below this would measure the caches.
const LEAST_SLICE_BYTES: usize = 64 << 20;
const LEAST_ROUNDS: usize = 3;
/// Words summed at a time: eight vectors of 64 bytes, so that no addition waits for the one before.
const N_LANE: usize = 64;

/// Read bandwidth of main memory, in units of 10^9 bytes per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Bandwidth {
    /// That of the fastest round.
    pub best_gb_s: f64,
    /// That of the median round.
    pub median_gb_s: f64,
    /// Rounds measured.
    pub n_round: usize,
    /// Threads that read.
    pub n_thread: usize,
    /// Bytes that they read in a round, together.
    pub n_bytes: usize,
}

/// Why nothing was measured.
#[derive(Debug)]
pub enum BandwidthError {
    /// Not enough memory to outgrow the caches.
    Memory {
        /// Bytes that the slices need, at least.
        needed: u64,
        /// Bytes that are usable.
        usable: u64,
    },
    /// The system refused the memory.
    Region(RegionError),
}

impl std::fmt::Display for BandwidthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory { needed, usable } => {
                write!(f, "measuring the read bandwidth needs {needed} bytes, {usable} are usable; use fewer threads")
            }
            Self::Region(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BandwidthError {}

/// Reads with `n_thread` threads for about this long, at least three rounds.
///
/// # Errors
///
/// [`BandwidthError`] if the slices, of [`SLICE_BYTES`] or of half the usable memory together, cannot be had.
///
/// # Panics
///
/// If `n_thread` is 0.
pub fn read_bandwidth(n_thread: usize, duration: Duration) -> Result<Bandwidth, BandwidthError> {
    assert!(n_thread > 0, "n_thread is at least 1");
    let n_slice = slice_bytes(n_thread, limits::memory_budget().usable_bytes())?;
    let n_bytes = n_slice * n_thread;
    let mut region = Region::new(n_bytes).map_err(BandwidthError::Region)?;
    let pace =
        Pace { barrier: Barrier::new(n_thread), is_over: AtomicBool::new(false), since: Instant::now(), duration };
    let sum = fastest_sum();

    // For every thread, begin and end of each round in seconds.
    let times: Vec<Vec<(f64, f64)>> = std::thread::scope(|scope| {
        let pace = &pace;
        let threads: Vec<_> = region
            .as_mut_slice()
            .chunks_exact_mut(n_slice)
            .map(|slice| scope.spawn(move || rounds(slice, sum, pace)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("reading does not panic")).collect()
    });

    let n_round = times[0].len();
    let mut rates: Vec<f64> = (0..n_round)
        .map(|round| {
            let begin = times.iter().map(|thread| thread[round].0).fold(f64::INFINITY, f64::min);
            let end = times.iter().map(|thread| thread[round].1).fold(0.0, f64::max);
            n_bytes as f64 / (end - begin) / 1e9
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    Ok(Bandwidth { best_gb_s: rates[n_round - 1], median_gb_s: rates[n_round / 2], n_round, n_thread, n_bytes })
}

fn slice_bytes(n_thread: usize, usable_bytes: Option<u64>) -> Result<usize, BandwidthError> {
    let usable = usable_bytes.unwrap_or(u64::MAX);
    let share = usable / 2 / n_thread as u64;
    if share < LEAST_SLICE_BYTES as u64 {
        let needed = 2 * (n_thread as u64).saturating_mul(LEAST_SLICE_BYTES as u64);
        return Err(BandwidthError::Memory { needed, usable });
    }
    // Whole huge pages, so that every slice begins at one.
    Ok(SLICE_BYTES.min(share as usize) & !(HUGE_PAGE - 1))
}

/// When rounds begin, and when there are no more.
struct Pace {
    barrier: Barrier,
    is_over: AtomicBool,
    since: Instant,
    duration: Duration,
}

impl Pace {
    /// Waits until all threads are here; false if that was the last round. All threads get the same answer.
    fn next_round(&self, n_done: usize) -> bool {
        if self.barrier.wait().is_leader() && n_done >= LEAST_ROUNDS && self.since.elapsed() >= self.duration {
            self.is_over.store(true, Relaxed);
        }
        // The barrier orders the store before every load.
        self.barrier.wait();
        !self.is_over.load(Relaxed)
    }
}

fn rounds(slice: &mut [u8], sum: fn(&[u64]) -> u64, pace: &Pace) -> Vec<(f64, f64)> {
    // Pages that were never written are all one page of zeros, which the caches hold.
    slice.fill(1);
    // SAFETY: any bits make a u64; the slice begins at a huge page, so nothing is left out at its ends.
    let words = unsafe { slice.align_to::<u64>().1 };
    let mut times = Vec::new();
    while pace.next_round(times.len()) {
        let begin = pace.since.elapsed().as_secs_f64();
        std::hint::black_box(sum(std::hint::black_box(words)));
        times.push((begin, pace.since.elapsed().as_secs_f64()));
    }
    times
}

fn fastest_sum() -> fn(&[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F.
            return |words| unsafe { sum_avx512(words) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return |words| unsafe { sum_avx2(words) };
        }
    }
    sum_words
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512(words: &[u64]) -> u64 {
    sum_words(words)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(words: &[u64]) -> u64 {
    sum_words(words)
}

/// The sum of all words, in lanes that the compiler makes vectors of.
#[inline(always)]
fn sum_words(words: &[u64]) -> u64 {
    let mut sums = [0u64; N_LANE];
    let (chunks, rest) = words.as_chunks::<N_LANE>();
    for chunk in chunks {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().chain(rest).fold(0, |total, word| total.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once() {
        for n in [0, 1, N_LANE - 1, N_LANE, N_LANE + 1, 7 * N_LANE + 13] {
            let words: Vec<u64> = (0..n as u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
            let expected = words.iter().fold(0u64, |total, word| total.wrapping_add(*word));
            assert_eq!(sum_words(&words), expected);
            assert_eq!(fastest_sum()(&words), expected);
        }
    }

    #[test]
    fn slices_fit_the_memory() {
        assert_eq!(slice_bytes(4, None).unwrap(), SLICE_BYTES);
        assert_eq!(slice_bytes(4, Some(1 << 30)).unwrap(), 128 << 20);
        let message = slice_bytes(64, Some(1 << 30)).unwrap_err().to_string();
        assert!(message.contains("8589934592") && message.contains("1073741824"), "{message}");
    }

    #[test]
    fn measures_something() {
        let Ok(bandwidth) = read_bandwidth(1, Duration::ZERO) else { return };
        assert_eq!((bandwidth.n_round, bandwidth.n_thread), (LEAST_ROUNDS, 1));
        assert!(bandwidth.best_gb_s >= bandwidth.median_gb_s && bandwidth.median_gb_s > 0.0, "{bandwidth:?}");
    }
}
