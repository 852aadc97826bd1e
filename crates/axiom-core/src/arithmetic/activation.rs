//! Rows of activations, in f32 and in blocks of 32, and how they are quantised (`docs/arithmetic.md`, section 3).

use super::BLOCK;
use super::block::Block;
use super::simd::Simd;

/// `n_row` rows of activations of `n_block` blocks each, in f32 and quantised.
///
/// The f32 rows lie back to back. The quantised rows are grouped in tiles, the rows that a product takes at once: within a
/// tile block 0 of all its rows comes first, then block 1 of all, so that the product walks through memory with one
/// pointer. [`Activations::tile`] says which rows make a tile; it depends on `n_row` and `widest` alone.
#[derive(Clone, Copy, Debug)]
pub struct Activations {
    /// f32 `[n_row][n_block × 32]`, zeros past the last column.
    pub x: *mut f32,
    /// `[n_row × n_block]`, in tiles.
    pub blocks: *mut Block,
    /// Blocks of a row.
    pub n_block: usize,
    /// Rows.
    pub n_row: usize,
    /// Rows of the widest tile, a power of two: the table's `Simd::TILE`.
    pub widest: usize,
}

impl Activations {
    /// First row and number of rows of the tile that holds `row`: whole tiles of `widest` rows, then halves of it.
    #[inline(always)]
    pub fn tile(&self, row: usize) -> (usize, usize) {
        let mut first = row & !(self.widest - 1);
        let mut n = self.widest;
        let mut rest = self.n_row - first;
        if rest >= n {
            return (first, n);
        }
        loop {
            while n > rest {
                n /= 2;
            }
            if row < first + n {
                return (first, n);
            }
            first += n;
            rest -= n;
        }
    }

    /// Block `b` of `row`.
    ///
    /// # Safety
    ///
    /// `row < n_row`, `b < n_block`.
    #[inline(always)]
    pub unsafe fn block(&self, row: usize, b: usize) -> *mut Block {
        let (first, n) = self.tile(row);
        // SAFETY: the caller's duty; the tile's blocks start at first × n_block.
        unsafe { self.blocks.add(first * self.n_block + b * n + (row - first)) }
    }
}

/// Magnitude bits below which a block counts as zero (2^−100), and from which it is not finite.
const ZERO_BELOW: i32 = 0x0D80_0000;
const INFINITE_FROM: i32 = 0x7F80_0000;

/// Quantises blocks `start` … `end − 1` of one row of f32 into its blocks.
///
/// # Safety
///
/// The processor has the instructions of `S`; the row exists, and nobody else uses those blocks meanwhile.
#[inline(always)]
pub unsafe fn quantize<S: Simd>(activations: &Activations, row: usize, start: usize, end: usize) {
    let (first, n) = activations.tile(row);
    for b in start..end {
        // SAFETY: the caller's duty; block b of the row is inside both arrays.
        unsafe {
            let x = activations.x.add((row * activations.n_block + b) * BLOCK);
            let block = activations.blocks.add(first * activations.n_block + b * n + (row - first));
            let x = [S::load(x), S::load(x.add(16))];
            let magnitude = S::splat_i(0x7FFF_FFFF);
            let largest = S::max_i(S::and_i(S::bits(x[0]), magnitude), S::and_i(S::bits(x[1]), magnitude));
            let largest = S::tree_max_i(largest);
            let q = (&raw mut (*block).q).cast::<i8>();
            let (d, s) = if (ZERO_BELOW..INFINITE_FROM).contains(&largest) {
                let a = f32::from_bits(largest as u32);
                let inverse = S::splat(127.0 / a);
                let low = S::round_to_i(S::mul(x[0], inverse));
                let high = S::round_to_i(S::mul(x[1], inverse));
                S::store_i8(q, low);
                S::store_i8(q.add(16), high);
                (a / 127.0, [S::sum_i(low), S::sum_i(high)])
            } else {
                S::store_i8(q, S::splat_i(0));
                S::store_i8(q.add(16), S::splat_i(0));
                (if largest < ZERO_BELOW { 0.0 } else { f32::NAN }, [0, 0])
            };
            (*block).d = d;
            (*block).s = s.map(|sum| sum as i16); // 16 × 127 at most
            (*block).eight_sum = 8 * (s[0] + s[1]);
            (*block).m = d * (s[0] + s[1]) as f32;
        }
    }
}
