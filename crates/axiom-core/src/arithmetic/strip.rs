//! Strips: rows of 16 numbers, of which weighted sums are taken. Both halves of attention are that: scores are sums of the keys'
//! dimensions, weighted by a query, and outputs are sums of the values' positions, weighted by the scores.
//!
//! A row that was read serves several queries; and of a strip with few queries several are taken, so that the processor has other
//! sums to add to while one is on its way.

use super::simd::Simd;
use super::{LANES, TILE_POSITIONS};

/// Rows that there is room for where a strip is widened.
pub const WIDE_ROWS: usize = TILE_POSITIONS;

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

/// Rows of 16 numbers: a panel of keys has a row for each dimension, 16 dimensions of the values have one for each position.
#[derive(Clone, Copy)]
pub struct Strip<E> {
    /// The first row.
    pub first: *const E,
    /// Rows.
    pub n: usize,
    /// Numbers from a row to the next.
    pub stride: usize,
    /// Numbers from a strip to the next.
    pub next: usize,
    /// Numbers from a row to what memory is asked for meanwhile; none if 0.
    pub ahead: usize,
}

impl<E: Element> Strip<E> {
    /// Rows `start` … `end − 1` alone.
    #[inline(always)]
    pub fn rows(self, start: usize, end: usize) -> Strip<E> {
        Strip { first: self.first.wrapping_add(start * self.stride), n: end - start, ..self }
    }

    /// The same rows as f32, one behind the other in `wide`, which stays in the first-level cache.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; the rows are readable, and `wide` has room for them.
    #[inline(always)]
    pub unsafe fn widened<S: Simd>(self, wide: *mut f32) -> Strip<f32> {
        // SAFETY: the caller's duty.
        unsafe {
            for row in 0..self.n {
                S::store(wide.add(row * LANES), E::load::<S>(self.first.add(row * self.stride)));
            }
        }
        Strip { first: wide, n: self.n, stride: LANES, next: 0, ahead: 0 }
    }

    /// `sums[i][j] + Σ factors[i][row] × row` of strip `j`, in each lane, over the rows in order. `factors[i]` lie `stride` apart.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; the rows of `M` strips, and as many factors, are readable.
    #[inline(always)]
    pub unsafe fn weighted<S: Simd, const N: usize, const M: usize>(
        self,
        factors: *const f32,
        stride: usize,
        mut sums: [[S::F; M]; N],
    ) -> [[S::F; M]; N] {
        // SAFETY: the caller's duty.
        unsafe {
            let mut factors = [factors; N];
            for i in 1..N {
                factors[i] = S::opaque(factors[i - 1].add(stride));
            }
            for row in 0..self.n {
                let at = self.first.add(row * self.stride);
                for j in 0..M {
                    if self.ahead > 0 {
                        S::prefetch(at.wrapping_add(j * self.next + self.ahead).cast());
                    }
                    let x = E::load::<S>(at.add(j * self.next));
                    for i in 0..N {
                        sums[i][j] = S::add(sums[i][j], S::mul(S::splat(*factors[i].add(row)), x));
                    }
                }
            }
        }
        sums
    }
}

/// Runs a body for each `N` indices from `i` on, below `n`: as many at a time as `most` allows and are left.
macro_rules! side_by_side {
    ($most:expr, $n:expr, |$i:ident, $N:ident| $body:block) => {
        let n: usize = $n;
        let mut $i = 0;
        side_by_side!(@ $most, n, $i, $N, $body, 8 6 4 2 1);
    };
    (@ $most:expr, $n:ident, $i:ident, $N:ident, $body:block, $($count:literal)+) => { $(
        while $count <= $most && $count <= $n - $i {
            const $N: usize = $count;
            $body
            $i += $N;
        }
    )+ };
}
pub(crate) use side_by_side;
