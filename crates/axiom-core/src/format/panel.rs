//! A panel: 16 rows of a matrix, laid out so that a lane is a row; and the product of a panel with rows of activations.
//!
//! A panel is a run of chunks of up to 256 columns; a chunk is the meta of its blocks (scales, 16 rows side by side) and
//! then their codes ([`super::codes`]). It has the size of the 16 rows in GGUF, is read once from first to last byte, and does
//! not depend on the instruction set (`docs/formats.md`).

use super::codes::Codes;
use super::scales::{BlockX, Scales};
use crate::arithmetic::activation::Row;
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

/// `out[t][lane] = Σ row(lane) · x[t]` for `n_row` rows of activations; output rows lie `stride` apart.
///
/// # Safety
///
/// The processor has the instructions of `S`; `panel` holds `n_block` blocks of format `Q`, `x` that many for each of
/// `n_row` rows; `out` is writable for 16 values in each of them.
#[inline(always)]
pub unsafe fn multiply<S: Simd, Q: Quantized>(
    panel: *const u8,
    n_block: usize,
    x: Row,
    n_row: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut t = 0;
    // SAFETY: the caller's duty; t + T ≤ n_row at each call.
    unsafe {
        macro_rules! take {
            ($n:literal) => {
                multiply_rows::<S, Q, $n>(panel, n_block, x.offset(t, n_block), out.add(t * stride), stride);
                t += $n;
            };
        }
        while S::TILE >= 16 && t + 16 <= n_row {
            take!(16);
        }
        while S::TILE >= 8 && t + 8 <= n_row {
            take!(8);
        }
        while S::TILE >= 4 && t + 4 <= n_row {
            take!(4);
        }
        while t + 2 <= n_row {
            take!(2);
        }
        if t < n_row {
            multiply_rows::<S, Q, 1>(panel, n_block, x.offset(t, n_block), out.add(t * stride), stride);
        }
    }
}

/// `T` rows of activations at once: each block of weights is unpacked once and multiplied with all of them.
#[inline(always)]
unsafe fn multiply_rows<S: Simd, Q: Quantized, const T: usize>(
    panel: *const u8,
    n_block: usize,
    x: Row,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; chunk by chunk the pointers stay within the panel, block b within the rows.
    unsafe {
        let rows: [Row; T] = core::array::from_fn(|t| x.offset(t, n_block));
        let mut acc = [S::splat(0.0); T];
        let mut chunk = panel;
        let mut b = 0;
        while b < n_block {
            let n = CHUNK_BLOCKS.min(n_block - b);
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
                    let row = &rows[t];
                    let x = BlockX {
                        q: row.q.add((b + i) * BLOCK),
                        d: *row.d.add(b + i),
                        s: *row.s.add(b + i),
                        m: *row.m.add(b + i),
                    };
                    acc[t] = scales.accumulate::<Q::Codes>(acc[t], &w, &x);
                }
            }
            chunk = codes.add(n * Q::Codes::BYTES);
            b += n;
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

/// As [`multiply`], for a plain format.
///
/// # Safety
///
/// As [`multiply`].
#[inline(always)]
pub unsafe fn multiply_plain<S: Simd, P: Plain>(
    panel: *const u8,
    n_block: usize,
    x: Row,
    n_row: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut t = 0;
    // SAFETY: the caller's duty; t + T ≤ n_row at each call.
    unsafe {
        while t + 4 <= n_row {
            multiply_plain_rows::<S, P, 4>(panel, n_block, x.offset(t, n_block), out.add(t * stride), stride);
            t += 4;
        }
        while t < n_row {
            multiply_plain_rows::<S, P, 1>(panel, n_block, x.offset(t, n_block), out.add(t * stride), stride);
            t += 1;
        }
    }
}

#[inline(always)]
unsafe fn multiply_plain_rows<S: Simd, P: Plain, const T: usize>(
    panel: *const u8,
    n_block: usize,
    x: Row,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; column k < n_block × 32.
    unsafe {
        let rows: [*const f32; T] = core::array::from_fn(|t| x.offset(t, n_block).x);
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
                    sums[t] = S::add(sums[t], S::mul(w, S::splat(*rows[t].add(k))));
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
