//! A panel: 16 rows of a matrix, laid out so that a lane is a row; and the product of a panel with rows of activations.
//!
//! A panel is a run of chunks of up to 256 columns; a chunk is the meta of its blocks (scales, 16 rows side by side) and
//! then their codes ([`super::codes`]). It has the size of the 16 rows in GGUF, is read once from first to last byte, and does
//! not depend on the instruction set (`docs/formats.md`).

use super::codes::Codes;
use super::scales::Scales;
use crate::arithmetic::activation::{Activations, Block};
use crate::arithmetic::simd::Simd;
use crate::arithmetic::{BLOCK, LANES};

/// Blocks of 32 columns in a whole chunk.
pub const CHUNK_BLOCKS: usize = 8;
/// How far ahead of the block in work a product asks for its weights, in bytes.
const PREFETCH: usize = 4096;

/// A format whose panels hold integer codes.
pub trait Quantized {
    /// Layout of the codes.
    type Codes: Codes;
    /// Shape of the scales.
    type Scales<S: Simd>: Scales<S>;
    /// Bytes of meta in a chunk of `n_block` blocks.
    fn meta_bytes(n_block: usize) -> usize;
    /// The scales of block `i` of a chunk.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `meta` is the meta of a chunk of more than `i` blocks.
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S>;
}

/// `out[t][lane] = row(lane) · x[t]` for rows `start` … `end − 1` of the activations; `out` is that of row `start`, and rows
/// of output lie `stride` apart.
///
/// # Safety
///
/// The processor has the instructions of `S`; `panel` holds `x.n_block` blocks of format `Q`; `x.widest` is `S::TILE`; `start`
/// and `end` are at tile boundaries of `x`, whose rows have been quantised; `out` is writable for 16 values in each row.
#[inline(always)]
pub unsafe fn multiply<S: Simd, Q: Quantized>(
    panel: *const u8,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut row = start;
    while row < end {
        let (_, n) = x.tile(row);
        // SAFETY: the caller's duty; the tile of `n` rows begins at `row`.
        unsafe {
            let blocks = x.blocks.add(row * x.n_block);
            let out = out.add((row - start) * stride);
            match n {
                16 if S::TILE >= 16 => multiply_tile::<S, Q, 16>(panel, x.n_block, blocks, out, stride),
                8 if S::TILE >= 8 => multiply_tile::<S, Q, 8>(panel, x.n_block, blocks, out, stride),
                4 if S::TILE >= 4 => multiply_tile::<S, Q, 4>(panel, x.n_block, blocks, out, stride),
                2 => multiply_tile::<S, Q, 2>(panel, x.n_block, blocks, out, stride),
                _ => multiply_tile::<S, Q, 1>(panel, x.n_block, blocks, out, stride),
            }
        }
        row += n;
    }
}

/// A tile of `T` rows: each block of weights is unpacked once and multiplied with all of them.
#[inline(always)]
unsafe fn multiply_tile<S: Simd, Q: Quantized, const T: usize>(
    panel: *const u8,
    n_block: usize,
    blocks: *const Block,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; chunk by chunk the pointers stay within the panel and the tile.
    unsafe {
        let mut acc = [S::splat(0.0); T];
        let mut chunk = panel;
        let mut x = blocks;
        let mut left = n_block;
        while left > 0 {
            let n = CHUNK_BLOCKS.min(left);
            let meta = chunk;
            let codes = meta.add(Q::meta_bytes(n));
            for i in 0..n {
                let block = codes.add(i * Q::Codes::BYTES);
                if T <= 2 {
                    for line in (0..Q::Codes::BYTES).step_by(64) {
                        S::prefetch(block.wrapping_add(PREFETCH + line));
                    }
                }
                let w = Q::Codes::unpack::<S>(block);
                let scales = Q::scales::<S>(meta, i);
                for t in 0..T {
                    acc[t] = scales.accumulate::<Q::Codes>(acc[t], &w, &*x.add(t));
                }
                x = x.add(T);
            }
            chunk = codes.add(n * Q::Codes::BYTES);
            left -= n;
        }
        for t in 0..T {
            S::store(out.add(t * stride), acc[t]);
        }
    }
}

/// A format whose panels hold the numbers themselves: column k of row r at `k × 16 + r`.
pub trait Plain {
    /// Bytes of a number.
    const BYTES: usize;
    /// 16 rows of a column as f32.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `p` is readable for 16 numbers.
    unsafe fn load<S: Simd>(p: *const u8) -> S::F;
}

/// As [`multiply`], for a plain format, whose products read f32 activations.
///
/// # Safety
///
/// As [`multiply`]; any `start` and `end` will do, and the rows need not be quantised.
#[inline(always)]
pub unsafe fn multiply_plain<S: Simd, P: Plain>(
    panel: *const u8,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut row = start;
    while row < end {
        let n = if row + 4 <= end { 4 } else { 1 };
        // SAFETY: the caller's duty; `n` rows from `row` on exist.
        unsafe {
            let rows = x.x.add(row * x.n_block * BLOCK);
            let out = out.add((row - start) * stride);
            if n == 4 {
                multiply_plain_rows::<S, P, 4>(panel, x.n_block, rows, out, stride);
            } else {
                multiply_plain_rows::<S, P, 1>(panel, x.n_block, rows, out, stride);
            }
        }
        row += n;
    }
}

#[inline(always)]
unsafe fn multiply_plain_rows<S: Simd, P: Plain, const T: usize>(
    panel: *const u8,
    n_block: usize,
    x: *const f32,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; column k < n_block × 32.
    unsafe {
        let mut acc = [S::splat(0.0); T];
        for b in 0..n_block {
            let mut sums = [S::splat(0.0); T];
            for k in b * BLOCK..(b + 1) * BLOCK {
                let column = panel.add(k * LANES * P::BYTES);
                if T == 1 {
                    S::prefetch(column.wrapping_add(PREFETCH));
                }
                let w = P::load::<S>(column);
                for t in 0..T {
                    sums[t] = S::add(sums[t], S::mul(w, S::splat(*x.add(t * n_block * BLOCK + k))));
                }
            }
            for t in 0..T {
                acc[t] = S::add(acc[t], sums[t]);
            }
        }
        for t in 0..T {
            S::store(out.add(t * stride), acc[t]);
        }
    }
}
