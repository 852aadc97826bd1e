//! From GGUF rows to panels and back. Bytes move, no number changes.

use super::codes::{Codes, place};
use super::panel::{CHUNK_BLOCKS, Plain};
use super::{BlockFormat, Format, with_format};
use crate::arithmetic::simd::unrolled;
use crate::arithmetic::{BLOCK, LANES};

/// Packs up to 16 GGUF rows into one panel; rows and columns that are missing become zeros.
///
/// `rows` holds whole rows of `n_col` columns back to back, `panel` is `format.bytes_panel(n_col)` long.
///
/// # Panics
///
/// If a length does not fit.
pub fn pack_panel(format: Format, rows: &[u8], n_col: usize, panel: &mut [u8]) {
    let bytes_row = format.bytes_row(n_col).expect("whole blocks");
    assert!(
        rows.len().is_multiple_of(bytes_row.max(1)) && rows.len() <= LANES * bytes_row,
        "rows of {bytes_row} bytes"
    );
    assert_eq!(Some(panel.len()), format.bytes_panel(n_col), "panel of {n_col} columns");
    if bytes_row == 0 {
        return;
    }
    // Rows that are missing, and columns up to a whole block, are zeros.
    if rows.len() < LANES * bytes_row || !n_col.is_multiple_of(BLOCK) {
        panel.fill(0);
    }
    with_format!(format, F => pack_blocks::<F>(rows, bytes_row, panel), P => pack_plain::<P>(rows, bytes_row, panel));
}

/// Reads row `lane` of a panel back into GGUF bytes.
///
/// # Panics
///
/// If a length does not fit.
pub fn unpack_row(format: Format, panel: &[u8], lane: usize, n_col: usize, row: &mut [u8]) {
    assert!(lane < LANES, "lane {lane}");
    assert_eq!(Some(row.len()), format.bytes_row(n_col), "row of {n_col} columns");
    assert_eq!(Some(panel.len()), format.bytes_panel(n_col), "panel of {n_col} columns");
    row.fill(0);
    with_format!(format, F => unpack_blocks::<F>(panel, lane, row), P => unpack_plain::<P>(panel, lane, row));
}

/// Where GGUF block `n` of a row with `n_total` blocks lies in the panel: start of its meta, start of its codes.
fn locate<F: BlockFormat>(n: usize, n_total: usize) -> (usize, usize) {
    let per_chunk = CHUNK_BLOCKS * BLOCK / F::COLUMNS; // GGUF blocks in a whole chunk
    let codes_of_block = F::COLUMNS / BLOCK * <F::Codes as Codes>::BYTES;
    let meta_of_block = super::bytes_meta(F::FIELDS);
    let (chunk, within) = (n / per_chunk, n % per_chunk);
    let start = chunk * per_chunk * (codes_of_block + meta_of_block);
    let in_chunk = per_chunk.min(n_total - chunk * per_chunk);
    (start + within * meta_of_block, start + in_chunk * meta_of_block + within * codes_of_block)
}

/// Offset in the GGUF block and bytes of each number that panels hold 16 rows of side by side, in their order.
fn fields<F: BlockFormat>() -> impl Iterator<Item = (usize, usize)> {
    F::FIELDS.iter().flat_map(|fields| (0..fields.n).map(|i| (fields.offset + i * fields.size, fields.size)))
}

fn pack_blocks<F: BlockFormat>(rows: &[u8], bytes_row: usize, panel: &mut [u8]) {
    let n_total = bytes_row / F::BYTES;
    for n in 0..n_total {
        let (mut meta, codes) = locate::<F>(n, n_total);
        let blocks = || rows.chunks_exact(bytes_row).map(|row| &row[n * F::BYTES..(n + 1) * F::BYTES]);
        for (offset, size) in fields::<F>() {
            let lanes = &mut panel[meta..meta + LANES * size];
            match size {
                1 => gather::<1>(blocks(), offset, lanes),
                2 => gather::<2>(blocks(), offset, lanes),
                _ => unreachable!("a field of {size} bytes"),
            }
            meta += LANES * size;
        }
        let codes = &mut panel[codes..];
        if F::COLUMNS == BLOCK {
            pack_codes::<F>(blocks(), 0, codes);
        } else {
            // Unrolled, so that every shift of bits is a constant.
            unrolled!(8, |i| pack_codes::<F>(blocks(), i, codes));
        }
    }
}

/// The `BYTES` at `offset` of every block, side by side.
#[inline(always)]
fn gather<'a, const BYTES: usize>(blocks: impl Iterator<Item = &'a [u8]>, offset: usize, lanes: &mut [u8]) {
    for (lane, block) in lanes.chunks_exact_mut(BYTES).zip(blocks) {
        lane.copy_from_slice(&block[offset..offset + BYTES]);
    }
}

/// The codes of columns 32i … 32i + 31 of every block.
#[inline(always)]
fn pack_codes<'a, F: BlockFormat>(blocks: impl Iterator<Item = &'a [u8]>, i: usize, codes: &mut [u8]) {
    let mut groups = [0; 512];
    for (lane, block) in blocks.enumerate() {
        let columns = F::codes(block, i);
        for column in (0..BLOCK).step_by(4) {
            let (group, byte) = place(column, lane);
            groups[64 * group + byte..][..4].copy_from_slice(&columns[column..column + 4]);
        }
    }
    let bytes = <F::Codes as Codes>::BYTES;
    F::Codes::join(&groups, &mut codes[i * bytes..(i + 1) * bytes]);
}

fn unpack_blocks<F: BlockFormat>(panel: &[u8], lane: usize, row: &mut [u8]) {
    let n_total = row.len() / F::BYTES;
    for (n, block) in row.chunks_exact_mut(F::BYTES).enumerate() {
        let (mut meta, mut codes) = locate::<F>(n, n_total);
        for (offset, size) in fields::<F>() {
            let at = meta + lane * size;
            block[offset..offset + size].copy_from_slice(&panel[at..at + size]);
            meta += LANES * size;
        }
        for i in 0..F::COLUMNS / BLOCK {
            F::set_codes(block, i, &F::Codes::get(&panel[codes..codes + F::Codes::BYTES], lane));
            codes += F::Codes::BYTES;
        }
    }
}

fn pack_plain<P: Plain>(rows: &[u8], bytes_row: usize, panel: &mut [u8]) {
    // Some columns of all rows at a time, so that what is written stays in the nearest cache.
    for (i, columns) in panel.chunks_mut(BLOCK * LANES * P::BYTES).enumerate() {
        for (lane, row) in rows.chunks_exact(bytes_row).enumerate() {
            let numbers = row[i * BLOCK * P::BYTES..].chunks_exact(P::BYTES);
            for (column, number) in columns.chunks_exact_mut(LANES * P::BYTES).zip(numbers) {
                column[lane * P::BYTES..(lane + 1) * P::BYTES].copy_from_slice(number);
            }
        }
    }
}

fn unpack_plain<P: Plain>(panel: &[u8], lane: usize, row: &mut [u8]) {
    for (k, number) in row.chunks_exact_mut(P::BYTES).enumerate() {
        let at = (k * LANES + lane) * P::BYTES;
        number.copy_from_slice(&panel[at..at + P::BYTES]);
    }
}
