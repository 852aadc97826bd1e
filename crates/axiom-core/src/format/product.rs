//! The product of a panel with rows of activations: of codes, and of plain numbers.

use super::BlockFormat;
use super::codes::Codes;
use super::many_rows::{ROWS_AT_ONCE, multiply_rows};
use super::panel::{CHUNK_BLOCKS, LINE, Plain, Quantized};
use super::scales::Scales;
use crate::arithmetic::activation::Activations;
use crate::arithmetic::block::Block;
use crate::arithmetic::simd::Simd;
use crate::arithmetic::{BLOCK, LANES};

/// How far ahead of the block in work a product asks for its weights, in bytes; and where the scales of 256 columns share
/// bits, so that a block takes longer. What is asked for later comes too late; further ahead, there are more requests than a
/// core has room for, and they wait for each other.
const PREFETCH: [usize; 2] = [1536, 3072];

/// Rows from which a chunk's weights are unpacked into the first-level cache instead of into registers.
const MANY_ROWS: usize = 3;

/// `out[t][lane] = row(lane) · x[t]` for rows `start` … `end − 1` of the activations; `out` is that of row `start`, and rows
/// of output lie `stride` apart.
///
/// # Safety
///
/// The processor has the instructions of `S`; `panel` holds `x.n_block` blocks of format `Q`; `x.widest` is `S::TILE`; `start`
/// and `end` are at tile boundaries of `x`, whose rows have been quantised; `out` is writable for 16 values in each row.
#[inline(always)]
pub unsafe fn multiply<S: Simd, Q: BlockFormat>(
    panel: *const u8,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut row = start;
    while row < end {
        // SAFETY: the caller's duty; tiles end where groups of `ROWS_AT_ONCE` rows do, and each begins at `row`.
        unsafe {
            let to = out.add((row - start) * stride);
            if end - row >= MANY_ROWS {
                let next = (row - row % ROWS_AT_ONCE + ROWS_AT_ONCE).min(end);
                multiply_rows::<S, Q>(panel, x, row, next, to, stride);
                row = next;
                continue;
            }
            let (_, n) = x.tile(row);
            let blocks = x.blocks.add(row * x.n_block);
            if n == 2 {
                multiply_tile::<S, Q, 2>(panel, x.n_block, blocks, to, stride);
            } else {
                multiply_tile::<S, Q, 1>(panel, x.n_block, blocks, to, stride);
            }
            row += n;
        }
    }
}

/// Asks for a block's share of the bytes, scales and codes, that come some way later.
#[inline(always)]
unsafe fn prefetch<S: Simd, Q: BlockFormat>(chunk: *const u8, i: usize) {
    let ahead = PREFETCH[usize::from(Q::COLUMNS > BLOCK)];
    for line in (0..Q::bytes_block()).step_by(LINE) {
        // SAFETY: a hint may point anywhere.
        unsafe { S::prefetch(chunk.wrapping_add(ahead + i * Q::bytes_block() + line)) };
    }
}

/// A tile of `T` rows, one or two: each block of weights is read from memory once and multiplied with all of them.
#[inline(always)]
unsafe fn multiply_tile<S: Simd, Q: BlockFormat, const T: usize>(
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
            let codes = chunk.add(Q::meta_bytes(n));
            for i in 0..n {
                let block = codes.add(i * Q::Codes::BYTES);
                prefetch::<S, Q>(chunk, i);
                let w = Q::Codes::unpack::<S>(block);
                let scales = Q::scales::<S>(chunk, i);
                acc = scales.join::<Few<S, Q>, T>(acc, scales.dots(&w, x), x);
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

type Few<S, Q> = <<Q as Quantized>::Codes as Codes>::Unpacked<S>;

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
                    S::prefetch(column.wrapping_add(PREFETCH[0]));
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
