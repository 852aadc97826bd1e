//! The product of a panel with many rows of activations: weights are unpacked once, into the first-level cache.

use super::BlockFormat;
use super::codes::Codes;
use super::groups::Groups;
use super::panel::{CHUNK_BLOCKS, LINE, Quantized};
use super::scales::Scales;
use crate::arithmetic::activation::Activations;
use crate::arithmetic::block::Block;
use crate::arithmetic::simd::{Simd, unrolled};
use core::mem::MaybeUninit;

/// Rows whose accumulators lie in the first-level cache beside the chunk.
pub(super) const ROWS_AT_ONCE: usize = 64;

type Many<S, Q> = <<<Q as Quantized>::Codes as Codes>::Unpacked<S> as Groups<S>>::Ready;

/// A block of weights, unpacked for many rows.
struct Unpacked<S: Simd, Q: BlockFormat> {
    w: Many<S, Q>,
    scales: Q::Scales<S>,
}

/// Lines of each block of the chunk that comes next, shared out among the tiles of this one.
#[derive(Clone, Copy)]
struct Lines {
    first: *const u8,
    n_left: usize,
    n_take: usize,
}

impl Lines {
    #[inline(always)]
    fn new(first: *const u8, n_line: usize, n_tile: usize) -> Lines {
        Lines { first, n_left: n_line, n_take: n_line.div_ceil(n_tile) }
    }

    /// The share of one tile.
    #[inline(always)]
    fn take(&mut self) -> Lines {
        let n_take = self.n_take.min(self.n_left);
        let share = Lines { n_take, ..*self };
        self.first = self.first.wrapping_add(n_take * LINE);
        self.n_left -= n_take;
        share
    }
}

/// Up to `ROWS_AT_ONCE` rows: each chunk of weights is unpacked once, then all rows go through it, tile by tile.
///
/// # Safety
///
/// As [`multiply`](super::product::multiply).
#[inline(always)]
pub(super) unsafe fn multiply_rows<S: Simd, Q: BlockFormat>(
    panel: *const u8,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; what is read of `unpacked` and `acc` has been written.
    unsafe {
        let mut unpacked = [const { MaybeUninit::<Unpacked<S, Q>>::uninit() }; CHUNK_BLOCKS];
        let mut acc = [const { MaybeUninit::<S::F>::uninit() }; ROWS_AT_ONCE];
        for acc in &mut acc[..end - start] {
            acc.write(S::splat(0.0));
        }
        let mut chunk = panel;
        let mut first = 0;
        while first < x.n_block {
            let n = CHUNK_BLOCKS.min(x.n_block - first);
            let codes = chunk.add(Q::meta_bytes(n));
            for (i, unpacked) in unpacked[..n].iter_mut().enumerate() {
                let block = codes.add(i * Q::Codes::BYTES);
                let w = Q::Codes::unpack::<S>(block).ready();
                unpacked.write(Unpacked { w, scales: Q::scales::<S>(chunk, i) });
            }
            let weights = unpacked.as_ptr().cast::<Unpacked<S, Q>>();
            // The tiles ask for the next chunk line by line, so that memory delivers while they are multiplied.
            let n_tile = (end - start).div_ceil(S::TILE);
            let mut lines = Lines::new(codes.add(n * Q::Codes::BYTES), Q::bytes_block().div_ceil(LINE), n_tile);
            let mut row = start;
            while row < end {
                let ahead = lines.take();
                let (_, n_row) = x.tile(row);
                let blocks = x.blocks.add(row * x.n_block + first * n_row);
                let acc = acc.as_mut_ptr().cast::<S::F>().add(row - start);
                match n_row {
                    8 if S::TILE >= 8 => add_tile::<S, Q, 8>(weights, n, blocks, acc, ahead),
                    4 if S::TILE >= 4 => add_tile::<S, Q, 4>(weights, n, blocks, acc, ahead),
                    2 => add_tile::<S, Q, 2>(weights, n, blocks, acc, ahead),
                    _ => add_tile::<S, Q, 1>(weights, n, blocks, acc, ahead),
                }
                row += n_row;
            }
            chunk = codes.add(n * Q::Codes::BYTES);
            first += n;
        }
        for (i, acc) in acc[..end - start].iter().enumerate() {
            S::store(out.add(i * stride), acc.assume_init());
        }
    }
}

/// Adds the products of `n` unpacked blocks with the `T` rows of a tile to their accumulators.
#[inline(always)]
unsafe fn add_tile<S: Simd, Q: BlockFormat, const T: usize>(
    weights: *const Unpacked<S, Q>,
    n: usize,
    blocks: *const Block,
    acc: *mut S::F,
    ahead: Lines,
) {
    // SAFETY: the caller's duty: `n` blocks of weights, `n × T` of activations, `T` accumulators.
    unsafe {
        let mut sums = *acc.cast::<[S::F; T]>();
        for i in 0..n {
            let Unpacked { w, scales } = &*S::opaque(weights.add(i));
            let x = blocks.add(i * T);
            for line in 0..ahead.n_take {
                S::prefetch(ahead.first.wrapping_add(i * Q::bytes_block() + line * LINE));
            }
            if S::BY_GROUP {
                // The dots take all registers: the accumulators are read only now, and written at once.
                let dots: [S::I; T] = scales.dots(w, x);
                let acc = S::opaque(acc).cast_mut();
                for t in 0..T {
                    let acc = acc.add(t);
                    [*acc] = scales.join::<Many<S, Q>, 1>([*acc], [dots[t]], x.add(t));
                }
            } else {
                // Written out: a loop that stays one would keep the sums in memory.
                let _: [(); 8] = unrolled!(8, |t| if t < T {
                    let x = x.add(t);
                    [sums[t]] = scales.join::<Many<S, Q>, 1>([sums[t]], scales.dots(w, x), x);
                });
            }
        }
        if !S::BY_GROUP {
            *acc.cast::<[S::F; T]>() = sums;
        }
    }
}
