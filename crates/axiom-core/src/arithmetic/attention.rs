//! One tile of attention: 128 positions of one key-value head against some queries (`docs/arithmetic.md`, section 5).
//!
//! For scores a lane is a position, so keys lie in panels of 16 positions, transposed: `[8 panels][head_dim][16]`. For values
//! a lane is a dimension, so values lie as they come: `[128 positions][head_dim]`. Queries are taken several at a time:
//! a key or value read once serves them all, which is what grouped-query attention and prefill live on.

use super::elementary::exp;
use super::simd::Simd;
use super::vector::{load_lanes, store_lanes};
use super::{LANES, TILE_POSITIONS};

/// How the cache holds a number.
pub trait Element: Copy + 'static {
    /// Reads 16 of them as f32.
    ///
    /// # Safety
    ///
    /// As [`Simd::load`].
    unsafe fn load<S: Simd>(p: *const Self) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const f32) -> S::F {
        // SAFETY: the caller's duty.
        unsafe { S::load(p) }
    }
}

/// f16 bits.
impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u16) -> S::F {
        // SAFETY: the caller's duty.
        unsafe { S::load_f16(p) }
    }
}

/// One tile's work. Query `i` sees the first `n_valid[i]` positions of the tile (1 … 128).
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// Values of a head; a multiple of 16 is fastest, anything works if values are padded to 16.
    pub head_dim: usize,
    /// head_dim rounded up to a multiple of 16: the stride of a position in `v` and of a query in `q` and `o`.
    pub dim_stride: usize,
    /// Queries.
    pub n_query: usize,
    /// Whether this is the tile of position 0, which starts `m`, `l` and `o`.
    pub first: bool,
    /// f32 `[n_query][dim_stride]`, already multiplied by 1 ÷ sqrt(head_dim).
    pub q: *const f32,
    /// `[n_query]`.
    pub n_valid: *const u32,
    /// `[8][head_dim][16]` of the cache's element.
    pub k: *const u8,
    /// `[128][dim_stride]` of the cache's element.
    pub v: *const u8,
    /// Running maximum, f32 `[n_query]`.
    pub m: *mut f32,
    /// Running sum, f32 `[n_query]`.
    pub l: *mut f32,
    /// Running output, f32 `[n_query][dim_stride]`.
    pub o: *mut f32,
}

/// Adds one tile to the running maxima, sums and outputs of its queries.
///
/// # Safety
///
/// The processor has the instructions of `S`; the pointers of `tile` reach what their shapes say, `k` and `v` being
/// arrays of `E`; every position that some query sees has been written.
#[inline(always)]
pub unsafe fn attend<S: Simd, E: Element>(tile: &Tile) {
    let mut i = 0;
    // SAFETY: the caller's duty; queries i … i + N − 1 exist.
    unsafe {
        while i + 4 <= tile.n_query {
            attend_some::<S, E, 4>(tile, i);
            i += 4;
        }
        if i + 2 <= tile.n_query {
            attend_some::<S, E, 2>(tile, i);
            i += 2;
        }
        if i < tile.n_query {
            attend_some::<S, E, 1>(tile, i);
        }
    }
}

/// `N` queries from `start` on.
#[inline(always)]
unsafe fn attend_some<S: Simd, E: Element, const N: usize>(tile: &Tile, start: usize) {
    // SAFETY: the caller's duty; every index below is within the shapes that `Tile` states, as its own loop bound says.
    unsafe {
        let stride = tile.dim_stride;
        let q = tile.q.add(start * stride);
        let n_valid: [usize; N] = core::array::from_fn(|i| *tile.n_valid.add(start + i) as usize);
        let n_seen = n_valid.into_iter().max().unwrap_or(0);
        let mut weights = [[0f32; TILE_POSITIONS]; N];

        // Scores, 16 positions at a time, each lane a sum over the dimensions in order.
        for panel in 0..n_seen.div_ceil(LANES) {
            let k = tile.k.cast::<E>().add(panel * tile.head_dim * LANES);
            let mut scores = [S::splat(0.0); N];
            for e in 0..tile.head_dim {
                let k = E::load::<S>(k.add(e * LANES));
                for i in 0..N {
                    scores[i] = S::add(scores[i], S::mul(S::splat(*q.add(i * stride + e)), k));
                }
            }
            for i in 0..N {
                S::store(weights[i].as_mut_ptr().add(panel * LANES), scores[i]);
            }
        }

        // Softmax within the tile. Positions a query does not see weigh +0, which changes no sum.
        let mut maxima = [0f32; N];
        let mut sums = [0f32; N];
        for i in 0..N {
            let w = &mut weights[i];
            for score in &mut w[n_valid[i]..n_seen.next_multiple_of(LANES)] {
                *score = f32::NEG_INFINITY;
            }
            let n_panel = n_valid[i].div_ceil(LANES);
            let mut largest = S::splat(f32::NEG_INFINITY);
            for panel in 0..n_panel {
                largest = S::max(largest, S::load(w.as_ptr().add(panel * LANES)));
            }
            maxima[i] = S::tree_max(largest);
            let largest = S::splat(maxima[i]);
            let mut sum = S::splat(0.0);
            for panel in 0..n_seen.div_ceil(LANES) {
                let p = w.as_mut_ptr().add(panel * LANES);
                let weight = exp::<S>(S::sub(S::load(p), largest));
                S::store(p, weight);
                sum = S::add(sum, weight);
            }
            sums[i] = S::tree_sum(sum);
        }

        // How the tile joins what came before it.
        let mut keep = [0f32; N]; // factor of the running values
        let mut join = [1f32; N]; // factor of this tile's
        for i in 0..N {
            let (m, l) = (&mut *tile.m.add(start + i), &mut *tile.l.add(start + i));
            if tile.first {
                (*m, *l) = (maxima[i], sums[i]);
                continue;
            }
            let larger = if *m > maxima[i] { *m } else { maxima[i] };
            keep[i] = S::tree_max(exp::<S>(S::splat(*m - larger)));
            join[i] = S::tree_max(exp::<S>(S::splat(maxima[i] - larger)));
            *l = *l * keep[i] + sums[i] * join[i];
            *m = larger;
        }

        // Values, 16 dimensions at a time, each lane a sum over the positions in order.
        for e in (0..tile.head_dim).step_by(LANES) {
            let lanes = (tile.head_dim - e).min(LANES);
            let v = tile.v.cast::<E>().add(e);
            let mut sums = [S::splat(0.0); N];
            for p in 0..n_seen {
                let v = E::load::<S>(v.add(p * stride));
                for i in 0..N {
                    sums[i] = S::add(sums[i], S::mul(S::splat(weights[i][p]), v));
                }
            }
            for i in 0..N {
                let o = tile.o.add((start + i) * stride + e);
                let joined = if tile.first {
                    sums[i]
                } else {
                    let kept = S::mul(load_lanes::<S>(o, lanes), S::splat(keep[i]));
                    S::add(kept, S::mul(sums[i], S::splat(join[i])))
                };
                store_lanes::<S>(o, joined, lanes);
            }
        }
    }
}

/// `o[i][e] ÷ l[i]`: ends the attention of `n_query` queries. `out` rows lie `out_stride` apart.
///
/// # Safety
///
/// The processor has the instructions of `S`; shapes as in [`Tile`].
#[inline(always)]
pub unsafe fn finish<S: Simd>(tile: &Tile, out: *mut f32, out_stride: usize) {
    for i in 0..tile.n_query {
        for e in (0..tile.head_dim).step_by(LANES) {
            let lanes = (tile.head_dim - e).min(LANES);
            // SAFETY: the caller's duty; e + lanes ≤ head_dim.
            unsafe {
                let o = load_lanes::<S>(tile.o.add(i * tile.dim_stride + e), lanes);
                let l = S::splat(*tile.l.add(i));
                store_lanes::<S>(out.add(i * out_stride + e), S::div(o, l), lanes);
            }
        }
    }
}
