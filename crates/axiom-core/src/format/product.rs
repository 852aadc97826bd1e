//! The products of panels with rows of activations: of codes, and of plain numbers.

use super::BlockFormat;
use super::codes::Codes;
use super::groups::Groups;
use super::many_rows::{ROWS_AT_ONCE, multiply_rows};
use super::panel::{CHUNK_BLOCKS, LINE, Plain, Quantized};
use super::scales::Scales;
use crate::arithmetic::activation::Activations;
use crate::arithmetic::block::Block;
use crate::arithmetic::simd::{Simd, unrolled};
use crate::arithmetic::{BLOCK, LANES};

/// How far ahead of the block in work a product asks for its weights, in bytes. What is asked for later comes too late; further
/// ahead, a core no longer reads ahead by itself too. Where few instructions go to a byte, the instructions that wait in a core
/// reach further by themselves; where scales of 256 columns share bits, less far.
const fn ahead(bytes_block: usize, columns: usize) -> usize {
    if bytes_block >= BLOCK * LANES {
        1024
    } else if columns == BLOCK {
        1536
    } else {
        2048
    }
}

/// Places in memory from which weights for few rows come side by side, each a run of panels, for the sets that have
/// `TWO_STREAMS`. Two are read faster than one: what a core reads ahead by itself ends some way ahead of each.
const STREAMS: usize = 2;

/// Rows of which each tile takes its weights from two places.
const ROWS_OF_STREAMS: usize = 2;
/// Rows that take their weights from memory into registers if they are one tile. Where there are more, and more than are few for
/// their codes, a chunk's weights are unpacked into the first-level cache first, once for all tiles.
const ROWS_OF_ONE_TILE: usize = 4;
/// Rows that go through a plain panel at once.
const PLAIN_ROWS: usize = 4;

/// Evaluates `$body` for all of `$n_panel` panels: while there are two and rows are few, with `$P` = `STREAMS` for `$panel` and the
/// one that is `$apart` panels on, so that each half of the panels is a run of its own; else with `$P` = 1.
macro_rules! in_streams {
    ($are_few:expr, $n_panel:expr, |$panel:ident, $apart:ident, $P:ident| $body:expr) => {
        let n_beside = if S::TWO_STREAMS && $are_few { $n_panel / STREAMS } else { 0 };
        in_streams!(@ STREAMS, 0..n_beside, n_beside, $panel, $apart, $P, $body);
        in_streams!(@ 1, STREAMS * n_beside..$n_panel, 0, $panel, $apart, $P, $body);
    };
    (@ $n:expr, $panels:expr, $distance:expr, $panel:ident, $apart:ident, $P:ident, $body:expr) => {{
        const $P: usize = $n;
        let $apart = $distance;
        for $panel in $panels {
            $body
        }
    }};
}

/// `out[t][16 p + lane] = row(lane) of panel p · x[t]` for rows `start` … `end − 1` of the activations and `n_panel` panels,
/// one after the other; `out` is that of row `start`, and rows of output lie `stride` apart.
///
/// # Safety
///
/// The processor has the instructions of `S`; the panels hold `x.n_block` blocks of format `Q` each; `x.widest` is `S::TILE`;
/// `start` and `end` are at tile boundaries of `x`, whose rows have been quantised; `out` is writable for `16 n_panel` values
/// in each row.
#[inline(always)]
pub unsafe fn multiply<S: Simd, Q: BlockFormat>(
    panels: *const u8,
    n_panel: usize,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let bytes_panel = x.n_block * Q::bytes_block();
    // SAFETY: the caller's duty.
    unsafe {
        in_streams!(end - start <= ROWS_OF_STREAMS, n_panel, |panel, apart, P| {
            let (panels, out) = (panels.add(panel * bytes_panel), out.add(panel * LANES));
            multiply_panels::<S, Q, P>(panels, apart, x, start, end, out, stride);
        });
    }
}

/// `P` panels, each `apart` panels on from the one before, with all rows: with more than one panel these are at most `ROWS_OF_STREAMS`.
#[inline(always)]
unsafe fn multiply_panels<S: Simd, Q: BlockFormat, const P: usize>(
    panels: *const u8,
    apart: usize,
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
            let out = out.add((row - start) * stride);
            let (_, n) = x.tile(row);
            if P == 1 && end - row > n.min(ROWS_OF_ONE_TILE).max(Few::<S, Q>::FEW_ROWS) {
                let next = (row - row % ROWS_AT_ONCE + ROWS_AT_ONCE).min(end);
                multiply_rows::<S, Q>(panels, x, row, next, out, stride);
                row = next;
                continue;
            }
            let blocks = x.blocks.add(row * x.n_block);
            match n {
                4 if P == 1 && S::TILE >= 4 => {
                    multiply_tile::<S, Q, P, 4>(panels, apart, x.n_block, blocks, out, stride)
                }
                2 => multiply_tile::<S, Q, P, 2>(panels, apart, x.n_block, blocks, out, stride),
                _ => multiply_tile::<S, Q, P, 1>(panels, apart, x.n_block, blocks, out, stride),
            }
            row += n;
        }
    }
}

/// A tile of `T` rows, one, two or four: each block of weights is read from memory once and multiplied with all of them.
#[inline(always)]
unsafe fn multiply_tile<S: Simd, Q: BlockFormat, const P: usize, const T: usize>(
    panels: *const u8,
    apart: usize,
    n_block: usize,
    blocks: *const Block,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; chunk by chunk the pointers stay within the panels and the tile.
    unsafe {
        let bytes_apart = apart * n_block * Q::bytes_block();
        let mut acc = [[S::splat(0.0); T]; P];
        let mut chunk = panels;
        let mut x = blocks;
        let mut left = n_block;
        while left > 0 {
            let n = CHUNK_BLOCKS.min(left);
            let codes = Q::meta_bytes(n);
            for i in 0..n {
                // Written out: a loop that stays one would keep the sums in memory.
                let _: [(); STREAMS] = unrolled!(2, |p| if p < P {
                    let chunk = chunk.add(p * bytes_apart);
                    prefetch::<S, Q>(chunk, i);
                    let w = Q::Codes::unpack::<S>(chunk.add(codes + i * Q::Codes::BYTES));
                    let scales = Q::scales::<S>(chunk, i);
                    acc[p] = scales.join::<Few<S, Q>, T>(acc[p], scales.dots(&w, x), x);
                });
                x = x.add(T);
            }
            chunk = chunk.add(codes + n * Q::Codes::BYTES);
            left -= n;
        }
        store_all::<S, P, T>(&acc, apart, out, stride);
    }
}

/// Writes the sums of `T` rows with `P` panels, each `apart` panels on.
#[inline(always)]
unsafe fn store_all<S: Simd, const P: usize, const T: usize>(
    sums: &[[S::F; T]; P],
    apart: usize,
    out: *mut f32,
    stride: usize,
) {
    for (p, sums) in sums.iter().enumerate() {
        for (t, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's duty.
            unsafe { S::store(out.add(t * stride + p * apart * LANES), *sum) };
        }
    }
}

/// Asks for a block's share of the bytes, scales and codes, that come some way later.
#[inline(always)]
unsafe fn prefetch<S: Simd, Q: BlockFormat>(chunk: *const u8, i: usize) {
    let ahead = const { ahead(Q::Codes::BYTES, Q::COLUMNS) };
    for line in (0..Q::bytes_block()).step_by(LINE) {
        // SAFETY: a hint may point anywhere.
        unsafe { S::prefetch(chunk.wrapping_add(ahead + i * Q::bytes_block() + line)) };
    }
}

type Few<S, Q> = <<Q as Quantized>::Codes as Codes>::Unpacked<S>;

/// As [`multiply`], for a plain format, whose products read f32 activations.
///
/// # Safety
///
/// As [`multiply`]; any `start` and `end` will do, and the rows need not be quantised.
#[inline(always)]
pub unsafe fn multiply_plain<S: Simd, F: Plain>(
    panels: *const u8,
    n_panel: usize,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let bytes_panel = x.n_block * BLOCK * LANES * F::BYTES;
    // SAFETY: the caller's duty.
    unsafe {
        in_streams!(end - start < PLAIN_ROWS, n_panel, |panel, apart, P| {
            let (panels, out) = (panels.add(panel * bytes_panel), out.add(panel * LANES));
            multiply_plain_panels::<S, F, P>(panels, apart, x, start, end, out, stride);
        });
    }
}

/// `P` plain panels, each `apart` panels on from the one before, with all rows, `PLAIN_ROWS` at once where it is one panel.
#[inline(always)]
unsafe fn multiply_plain_panels<S: Simd, F: Plain, const P: usize>(
    panels: *const u8,
    apart: usize,
    x: &Activations,
    start: usize,
    end: usize,
    out: *mut f32,
    stride: usize,
) {
    let mut row = start;
    while row < end {
        // SAFETY: the caller's duty; the rows from `row` on exist.
        unsafe {
            let rows = x.x.add(row * x.n_block * BLOCK);
            let out = out.add((row - start) * stride);
            if P == 1 && end - row >= PLAIN_ROWS {
                multiply_plain_rows::<S, F, P, PLAIN_ROWS>(panels, apart, x.n_block, rows, out, stride);
                row += PLAIN_ROWS;
            } else {
                multiply_plain_rows::<S, F, P, 1>(panels, apart, x.n_block, rows, out, stride);
                row += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn multiply_plain_rows<S: Simd, F: Plain, const P: usize, const T: usize>(
    panels: *const u8,
    apart: usize,
    n_block: usize,
    x: *const f32,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's duty; column k < n_block × 32.
    unsafe {
        let bytes_column = LANES * F::BYTES;
        let bytes_apart = apart * n_block * BLOCK * bytes_column;
        let mut acc = [[S::splat(0.0); T]; P];
        for b in 0..n_block {
            let mut sums = [[S::splat(0.0); T]; P];
            for k in b * BLOCK..(b + 1) * BLOCK {
                for (p, sums) in sums.iter_mut().enumerate() {
                    let column = panels.add(p * bytes_apart + k * bytes_column);
                    if T == 1 {
                        S::prefetch(column.wrapping_add(const { ahead(BLOCK * LANES * F::BYTES, BLOCK) }));
                    }
                    let w = F::load::<S>(column);
                    for (t, sum) in sums.iter_mut().enumerate() {
                        *sum = S::add(*sum, S::mul(w, S::splat(*x.add(t * n_block * BLOCK + k))));
                    }
                }
            }
            for (acc, sums) in acc.iter_mut().zip(sums) {
                for (acc, sum) in acc.iter_mut().zip(sums) {
                    *acc = S::add(*acc, sum);
                }
            }
        }
        store_all::<S, P, T>(&acc, apart, out, stride);
    }
}
