//! Activations in blocks of 32 (`docs/arithmetic.md`, section 3): what a product with weights reads.

use super::simd::Simd;
use super::BLOCK;

/// A row of activations, in f32 and quantised, laid out for the products. `n_block` blocks of 32 columns.
///
/// The arrays of successive rows lie `n_block × 32`, `n_block` … elements apart; a `Row` points to one row's.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// f32 `[n_block × 32]`, zeros past the last column.
    pub x: *const f32,
    /// i8 `[n_block × 32]`, −127 … 127.
    pub q: *const i8,
    /// f32 `[n_block]`: the blocks' scales.
    pub d: *const f32,
    /// i32 `[n_block][2]`: sums of the first and the last 16 of `q`.
    pub s: *const [i32; 2],
    /// f32 `[n_block]`: `d × (s0 + s1)`.
    pub m: *const f32,
}

impl Row {
    /// The row `n` rows further down.
    ///
    /// # Safety
    ///
    /// That row exists.
    #[inline(always)]
    pub unsafe fn offset(self, n: usize, n_block: usize) -> Row {
        // SAFETY: the caller's duty; rows lie back to back.
        unsafe {
            Row {
                x: self.x.add(n * n_block * BLOCK),
                q: self.q.add(n * n_block * BLOCK),
                d: self.d.add(n * n_block),
                s: self.s.add(n * n_block),
                m: self.m.add(n * n_block),
            }
        }
    }
}

/// Magnitude bits below which a block counts as zero (2^−100), and from which it is not finite.
const ZERO_BELOW: i32 = 0x0D80_0000;
const INFINITE_FROM: i32 = 0x7F80_0000;

/// Quantises `n_block` blocks of `x` (f32 `[n_block × 32]`) into the other arrays of the row.
///
/// # Safety
///
/// The processor has the instructions of `S`; `row.x` is readable, the other arrays are writable, for `n_block` blocks.
#[inline(always)]
pub unsafe fn quantize<S: Simd>(row: Row, n_block: usize) {
    for b in 0..n_block {
        // SAFETY: the caller's duty; block b is inside each array.
        unsafe {
            let x = [S::load(row.x.add(b * BLOCK)), S::load(row.x.add(b * BLOCK + 16))];
            let magnitude = S::splat_i(0x7FFF_FFFF);
            let largest = S::max_i(S::and_i(S::bits(x[0]), magnitude), S::and_i(S::bits(x[1]), magnitude));
            let largest = S::tree_max_i(largest);
            let q = row.q.add(b * BLOCK).cast_mut();
            let (d, s) = if (ZERO_BELOW..INFINITE_FROM).contains(&largest) {
                let a = f32::from_bits(largest as u32);
                let inverse = S::splat(127.0 / a);
                let first = S::round_to_i(S::mul(x[0], inverse));
                let last = S::round_to_i(S::mul(x[1], inverse));
                S::store_i8(q, first);
                S::store_i8(q.add(16), last);
                (a / 127.0, [S::sum_i(first), S::sum_i(last)])
            } else {
                S::store_i8(q, S::splat_i(0));
                S::store_i8(q.add(16), S::splat_i(0));
                (if largest < ZERO_BELOW { 0.0 } else { f32::NAN }, [0, 0])
            };
            row.d.add(b).cast_mut().write(d);
            row.s.add(b).cast_mut().write(s);
            row.m.add(b).cast_mut().write(d * (s[0] + s[1]) as f32);
        }
    }
}
