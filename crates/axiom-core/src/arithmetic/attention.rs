//! One tile of attention: 128 positions of one key-value head against some queries (`docs/arithmetic.md`, section 5).
//!
//! For scores a lane is a position, so keys lie in panels of 16 positions, transposed: `[8 panels][head_dim][16]`. For values
//! a lane is a dimension, so values lie as they come: `[128 positions][head_dim]`. Both are [strips](Strip), whose rows serve
//! several queries at a time: that is what grouped-query attention and prefill live on.

use super::elementary::exp_each;
use super::simd::Simd;
use super::strip::{Element, Strip, WIDE_ROWS, side_by_side};
use super::vector::{load_lanes, store_lanes};
use super::{LANES, TILE_POSITIONS};
use core::mem::MaybeUninit;

/// Queries whose weights lie in the first caches at once: as many as are worth giving a tile, and divisible by those that go
/// side by side.
pub const QUERIES: usize = 48;
/// Panels whose scores become weights side by side; they divide a tile.
const PANELS_AT_ONCE: usize = 2;
/// Strips that few queries read side by side, at most: they are read from memory, which does not deliver more any faster.
const STRIPS: usize = 4;
/// Rows of values that memory is asked for ahead.
const ROWS_AHEAD: usize = 16;

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
    let mut weights = MaybeUninit::<[[f32; TILE_POSITIONS]; QUERIES]>::uninit();
    let mut wide = MaybeUninit::<[[f32; LANES]; WIDE_ROWS]>::uninit();
    for start in (0..tile.n_query).step_by(QUERIES) {
        // SAFETY: the caller's duty; these queries exist.
        unsafe {
            let queries = Queries {
                n: QUERIES.min(tile.n_query - start),
                q: tile.q.add(start * tile.dim_stride),
                n_valid: tile.n_valid.add(start),
                m: tile.m.add(start),
                l: tile.l.add(start),
                o: tile.o.add(start * tile.dim_stride),
                weights: weights.as_mut_ptr().cast(),
                wide: wide.as_mut_ptr().cast(),
                tile,
            };
            queries.attend::<S, E>();
        }
    }
}

/// Some of a tile's queries: the pointers are to the first of them.
struct Queries<'a> {
    n: usize,
    q: *const f32,
    n_valid: *const u32,
    m: *mut f32,
    l: *mut f32,
    o: *mut f32,
    /// f32 `[n][128]`: scores, then weights.
    weights: *mut f32,
    /// f32 `[WIDE_ROWS][16]`: a strip that many of them read.
    wide: *mut f32,
    tile: &'a Tile,
}

/// How a tile joins what came before it: for each query, the factor of the running values and that of its own.
struct Joints {
    keep: [f32; QUERIES],
    join: [f32; QUERIES],
}

impl Queries<'_> {
    #[inline(always)]
    unsafe fn attend<S: Simd, E: Element>(&self) {
        // SAFETY: the caller's duty; every index below is within the shapes that `Tile` states, as its own loop bound says.
        unsafe {
            self.scores::<S, E>();
            let joints = self.softmax::<S>();
            self.outputs::<S, E>(&joints);
        }
    }

    /// Whether so many queries read the same strips that these are widened once for all.
    #[inline(always)]
    fn are_many<S: Simd>(&self) -> bool {
        self.n >= 2 * S::QUERIES
    }

    /// The scores of all queries for the positions that they see, and for others up to whole panels.
    #[inline(always)]
    unsafe fn scores<S: Simd, E: Element>(&self) {
        let head_dim = self.tile.head_dim;
        // SAFETY: the caller's duty.
        unsafe {
            if !self.are_many::<S>() {
                side_by_side!(S::QUERIES, self.n, |i, N| {
                    let n_panel = self.n_seen(i, N).div_ceil(LANES);
                    side_by_side!(STRIPS.min(S::QUERIES / N), n_panel, |panel, M| {
                        self.score::<S, E, N, M>(i, self.keys::<E>(panel, M), panel, 0);
                    });
                });
                return;
            }
            for panel in 0..self.n_seen(0, self.n).div_ceil(LANES) {
                for start in (0..head_dim).step_by(WIDE_ROWS) {
                    let end = head_dim.min(start + WIDE_ROWS);
                    let k = self.keys::<E>(panel, 1).rows(start, end).widened::<S>(self.wide);
                    side_by_side!(S::QUERIES, self.n, |i, N| {
                        self.score::<S, f32, N, 1>(i, k, panel, start);
                    });
                }
            }
        }
    }

    /// Joins what the tile gives to the outputs of all queries.
    #[inline(always)]
    unsafe fn outputs<S: Simd, E: Element>(&self, joints: &Joints) {
        let n_strip = self.tile.head_dim.div_ceil(LANES);
        // SAFETY: the caller's duty.
        unsafe {
            if !self.are_many::<S>() {
                side_by_side!(S::QUERIES, self.n, |i, N| {
                    side_by_side!(STRIPS.min(S::QUERIES / N), n_strip, |strip, M| {
                        self.output::<S, E, N, M>(i, self.values::<E>(strip), strip, joints);
                    });
                });
                return;
            }
            let n_seen = self.n_seen(0, self.n);
            for strip in 0..n_strip {
                let v = self.values::<E>(strip).rows(0, n_seen).widened::<S>(self.wide);
                side_by_side!(S::QUERIES, self.n, |i, N| {
                    self.output::<S, f32, N, 1>(i, v, strip, joints);
                });
            }
        }
    }

    /// The most positions that one of queries `i` … `i + n − 1` sees.
    #[inline(always)]
    unsafe fn n_seen(&self, i: usize, n: usize) -> usize {
        // SAFETY: the caller's duty: there are such queries.
        (i..i + n).map(|i| unsafe { *self.n_valid.add(i) }).max().unwrap_or(0) as usize
    }

    /// The positions that all of queries `i` … `i + n − 1` see.
    #[inline(always)]
    unsafe fn n_common(&self, i: usize, n: usize) -> usize {
        // SAFETY: the caller's duty: there are such queries.
        (i..i + n).map(|i| unsafe { *self.n_valid.add(i) }).min().unwrap_or(0) as usize
    }

    /// The keys of 16 positions, of which `n` panels are read side by side.
    #[inline(always)]
    fn keys<E: Element>(&self, panel: usize, n: usize) -> Strip<E> {
        let next = self.tile.head_dim * LANES;
        let first = self.tile.k.cast::<E>().wrapping_add(panel * next);
        Strip { first, n: self.tile.head_dim, stride: LANES, next, ahead: n * next }
    }

    /// 16 dimensions of the values.
    #[inline(always)]
    fn values<E: Element>(&self, strip: usize) -> Strip<E> {
        let stride = self.tile.dim_stride;
        let first = self.tile.v.cast::<E>().wrapping_add(strip * LANES);
        Strip { first, n: TILE_POSITIONS, stride, next: LANES, ahead: ROWS_AHEAD * stride }
    }

    /// Adds dimensions `start` … `start + k.n − 1` to the scores of `N` queries for `M` panels: each lane a sum over the
    /// dimensions in order.
    #[inline(always)]
    unsafe fn score<S: Simd, E: Element, const N: usize, const M: usize>(
        &self,
        i: usize,
        k: Strip<E>,
        panel: usize,
        start: usize,
    ) {
        // SAFETY: the caller's duty.
        unsafe {
            let scores = |n: usize, m: usize| self.weights.add((i + n) * TILE_POSITIONS + (panel + m) * LANES);
            let mut sums = [[S::splat(0.0); M]; N];
            if start > 0 {
                for n in 0..N {
                    for m in 0..M {
                        sums[n][m] = S::load(scores(n, m));
                    }
                }
            }
            let q = self.q.add(i * self.tile.dim_stride + start);
            let sums = k.weighted::<S, N, M>(q, self.tile.dim_stride, sums);
            for n in 0..N {
                for m in 0..M {
                    S::store(scores(n, m), sums[n][m]);
                }
            }
        }
    }

    /// Joins `M` strips of values to the outputs of `N` queries: each lane a sum over the positions in order.
    #[inline(always)]
    unsafe fn output<S: Simd, E: Element, const N: usize, const M: usize>(
        &self,
        i: usize,
        v: Strip<E>,
        strip: usize,
        joints: &Joints,
    ) {
        // SAFETY: the caller's duty.
        unsafe {
            let weights = self.weights.add(i * TILE_POSITIONS);
            // What all of them see; then, for each, the rest of what it sees.
            let n_common = self.n_common(i, N);
            let zero = [[S::splat(0.0); M]; N];
            let common = v.rows(0, n_common).weighted::<S, N, M>(weights, TILE_POSITIONS, zero);
            for n in 0..N {
                let rest = v.rows(n_common, self.n_seen(i + n, 1));
                let weights = weights.add(n * TILE_POSITIONS + n_common);
                let [sums] = rest.weighted::<S, 1, M>(weights, 0, [common[n]]);
                for m in 0..M {
                    let e = (strip + m) * LANES;
                    let lanes = (self.tile.head_dim - e).min(LANES);
                    let o = self.o.add((i + n) * self.tile.dim_stride + e);
                    let joined = if self.tile.first {
                        sums[m]
                    } else {
                        let kept = S::mul(load_lanes::<S>(o, lanes), S::splat(joints.keep[i + n]));
                        S::add(kept, S::mul(sums[m], S::splat(joints.join[i + n])))
                    };
                    store_lanes::<S>(o, joined, lanes);
                }
            }
        }
    }

    /// Turns scores into weights, and joins their maxima and sums to the running ones.
    #[inline(always)]
    unsafe fn softmax<S: Simd>(&self) -> Joints {
        let mut maxima = [0f32; QUERIES];
        let mut sums = [0f32; QUERIES];
        let mut joints = Joints { keep: [0.0; QUERIES], join: [1.0; QUERIES] };
        // SAFETY: the caller's duty; a query is a lane, and there is room for whole vectors of them.
        unsafe {
            for i in 0..self.n {
                (maxima[i], sums[i]) = softmax::<S>(self.weights.add(i * TILE_POSITIONS), self.n_seen(i, 1));
            }
            for i in (0..self.n).step_by(LANES) {
                let lanes = (self.n - i).min(LANES);
                let (m, l) = (self.m.add(i), self.l.add(i));
                let maxima = S::load(maxima.as_ptr().add(i));
                let sums = S::load(sums.as_ptr().add(i));
                if self.tile.first {
                    store_lanes::<S>(m, maxima, lanes);
                    store_lanes::<S>(l, sums, lanes);
                    continue;
                }
                let before = load_lanes::<S>(m, lanes);
                let larger = S::max(before, maxima);
                let [keep, join] = exp_each::<S, 2>([S::sub(before, larger), S::sub(maxima, larger)]);
                S::store(joints.keep.as_mut_ptr().add(i), keep);
                S::store(joints.join.as_mut_ptr().add(i), join);
                store_lanes::<S>(l, S::add(S::mul(load_lanes::<S>(l, lanes), keep), S::mul(sums, join)), lanes);
                store_lanes::<S>(m, larger, lanes);
            }
        }
        joints
    }
}

/// Turns the first `n` scores of a query in a tile into weights: their maximum and the sum of the weights.
#[inline(always)]
unsafe fn softmax<S: Simd>(scores: *mut f32, n: usize) -> (f32, f32) {
    // SAFETY: the caller's duty: there are scores up to whole panels, and room for 128.
    unsafe {
        // Lanes without a position weigh +0, which changes no sum.
        for i in n..n.next_multiple_of(PANELS_AT_ONCE * LANES) {
            *scores.add(i) = f32::NEG_INFINITY;
        }
        let n_panel = n.div_ceil(LANES);
        let mut largest = S::splat(f32::NEG_INFINITY);
        for panel in 0..n_panel {
            largest = S::max(largest, S::load(scores.add(panel * LANES)));
        }
        let maximum = S::tree_max(largest);
        let largest = S::splat(maximum);
        let mut sum = S::splat(0.0);
        for panel in (0..n_panel).step_by(PANELS_AT_ONCE) {
            let p = scores.add(panel * LANES);
            let mut x = [largest; PANELS_AT_ONCE];
            for i in 0..PANELS_AT_ONCE {
                x[i] = S::sub(S::load(p.add(i * LANES)), largest);
            }
            let weights = exp_each::<S, PANELS_AT_ONCE>(x);
            for i in 0..PANELS_AT_ONCE {
                S::store(p.add(i * LANES), weights[i]);
                sum = S::add(sum, weights[i]);
            }
        }
        (maximum, S::tree_sum(sum))
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
