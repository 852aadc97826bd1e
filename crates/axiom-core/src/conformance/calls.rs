//! The kernels of a table one by one, over arrays: what a body is asked for when it is compared with another. The functions
//! have the names and meanings of those in `axiom.reference.testing`.
//!
//! Each copies into memory of its own, in the layout that the kernels want, so that a wrong shape is an error and not a wild
//! read.

use super::inputs::Owned;
use crate::arithmetic::attention::Tile;
use crate::arithmetic::block::Block;
use crate::arithmetic::half::f32_to_f16;
use crate::arithmetic::portable::sqrt_f32;
use crate::arithmetic::{LANES, TILE_POSITIONS};
use crate::format::Format;
use crate::format::pack::{pack_panel, unpack_row};
use crate::kernels::Kernels;
use alloc::vec;
use alloc::vec::Vec;

/// What was expected of the arguments.
pub type Expected = &'static str;

fn expect(holds: bool, what: Expected) -> Result<(), Expected> {
    if holds { Ok(()) } else { Err(what) }
}

/// Rows as long as the shape says.
fn expect_shape<T>(values: &[T], shape: &[usize]) -> Result<(), Expected> {
    let n = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    expect(n == Some(values.len()), "arrays as large as their shapes")
}

/// e^x of each element.
pub fn exp(table: &Kernels, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    // SAFETY: the processor runs the table; both arrays hold `out.len()` values.
    unsafe { (table.exp)(x.as_ptr(), out.len(), out.as_mut_ptr()) };
    out
}

/// f32 as f16 bits, to nearest even.
pub fn to_f16(table: &Kernels, x: &[f32]) -> Vec<u16> {
    let mut out = vec![0u16; x.len()];
    // SAFETY: the processor runs the table; both arrays hold `out.len()` values.
    unsafe { (table.to_f16)(x.as_ptr(), out.len(), out.as_mut_ptr()) };
    out
}

/// Each row of `x` `[n_tokens, n]`, normed by the weights `w` `[n]`.
///
/// # Errors
///
/// What was expected of the arguments; so in all that follow.
pub fn rms_norm(table: &Kernels, x: &[f32], w: &[f32], eps: f32) -> Result<Vec<f32>, Expected> {
    let n = w.len();
    expect(n > 0 && x.len().is_multiple_of(n), "as many weights as columns")?;
    let mut out = x.to_vec();
    for row in out.chunks_exact_mut(n) {
        // SAFETY: the processor runs the table; all three hold n values, and the output may be the input.
        unsafe { (table.rms_norm)(row.as_ptr(), w.as_ptr(), n, eps, row.as_mut_ptr()) };
    }
    Ok(out)
}

/// `silu(gate) × up`, element by element.
pub fn silu_mul(table: &Kernels, gate: &[f32], up: &[f32]) -> Result<Vec<f32>, Expected> {
    expect(gate.len() == up.len(), "as many of one as of the other")?;
    let mut out = vec![0f32; gate.len()];
    // SAFETY: the processor runs the table; all three hold `out.len()` values.
    unsafe { (table.silu_mul)(gate.as_ptr(), up.as_ptr(), out.len(), out.as_mut_ptr()) };
    Ok(out)
}

/// Turns `x` `[n_tokens, n_head, head_dim]` by `cos` and `sin` `[n_tokens, n_pair]`.
pub fn rope(
    table: &Kernels,
    x: &[f32],
    shape: [usize; 3],
    cos: &[f32],
    sin: &[f32],
    pairing: &str,
) -> Result<Vec<f32>, Expected> {
    let [n_tokens, n_head, head_dim] = shape;
    expect_shape(x, &shape)?;
    expect(n_tokens > 0 && cos.len() == sin.len() && cos.len().is_multiple_of(n_tokens), "cos and sin of every token")?;
    let n_pair = cos.len() / n_tokens;
    expect(n_pair > 0 && n_pair <= head_dim / 2 && n_head > 0, "pairs within a head")?;
    expect(pairing == "norm" || pairing == "neox", "pairing norm or neox")?;
    let mut out = x.to_vec();
    for (i, head) in out.chunks_exact_mut(head_dim).enumerate() {
        let at = i / n_head * n_pair;
        let (cos, sin) = (&cos[at..at + n_pair], &sin[at..at + n_pair]);
        // SAFETY: the processor runs the table; the head holds 2 × n_pair values, cos and sin n_pair.
        unsafe { (table.rope)(head.as_mut_ptr(), cos.as_ptr(), sin.as_ptr(), n_pair, pairing == "norm") };
    }
    Ok(out)
}

/// The blocks of rows of `x` `[n_tokens, n]`, row by row.
pub fn quantize(table: &Kernels, x: &[f32], shape: [usize; 2]) -> Result<Vec<Block>, Expected> {
    let [n_row, n] = shape;
    expect_shape(x, &shape)?;
    expect(n > 0, "at least one column")?;
    let mut rows = Owned::new(table, x, n_row, n);
    let n_block = rows.n_block;
    Ok((0..n_row * n_block).map(|i| rows.block(i / n_block, i % n_block)).collect())
}

/// The panels of `rows` `[n_rows, bytes]` of `cols` weights each, one after the other.
pub fn pack(format: Format, rows: &[u8], cols: usize) -> Result<Vec<u8>, Expected> {
    let bytes_row = bytes_row(format, rows, cols)?;
    let bytes_panel = format.bytes_panel(cols).unwrap_or(0);
    let mut out = vec![0u8; bytes_panel * (rows.len() / bytes_row).div_ceil(LANES)];
    for (panel, rows) in out.chunks_exact_mut(bytes_panel).zip(rows.chunks(LANES * bytes_row)) {
        pack_panel(format, rows, cols, panel);
    }
    Ok(out)
}

/// Bytes of a row, of which there is a whole number.
fn bytes_row(format: Format, rows: &[u8], cols: usize) -> Result<usize, Expected> {
    let bytes_row = format.bytes_row(cols).unwrap_or(0);
    expect(bytes_row > 0 && rows.len().is_multiple_of(bytes_row), "rows of whole blocks")?;
    Ok(bytes_row)
}

/// The `n_rows` rows of panels, as they were in the file.
pub fn unpack(format: Format, panels: &[u8], n_rows: usize, cols: usize) -> Result<Vec<u8>, Expected> {
    let (bytes_row, bytes_panel) = (format.bytes_row(cols).unwrap_or(0), format.bytes_panel(cols).unwrap_or(0));
    let bytes_all = bytes_panel.checked_mul(n_rows.div_ceil(LANES));
    expect(bytes_row > 0 && bytes_all == Some(panels.len()), "whole panels")?;
    let mut out = vec![0u8; n_rows * bytes_row];
    for (i, row) in out.chunks_exact_mut(bytes_row).enumerate() {
        unpack_row(format, &panels[i / LANES * bytes_panel..][..bytes_panel], i % LANES, cols, row);
    }
    Ok(out)
}

/// Rows `[n_rows, bytes]` as f32 `[n_rows, cols]`.
pub fn dequantize(format: Format, rows: &[u8], cols: usize) -> Result<Vec<f32>, Expected> {
    let bytes_row = bytes_row(format, rows, cols)?;
    let mut out = vec![0f32; rows.len() / bytes_row * cols];
    for (out, row) in out.chunks_exact_mut(cols).zip(rows.chunks_exact(bytes_row)) {
        format.dequantize_row(row, out);
    }
    Ok(out)
}

/// The product of a matrix, `rows` `[n_rows, bytes]`, with `x` `[n_tokens, cols]`: `[n_tokens, n_rows]`.
pub fn matmul(table: &Kernels, format: Format, rows: &[u8], cols: usize, x: &[f32]) -> Result<Vec<f32>, Expected> {
    let n_rows = rows.len() / bytes_row(format, rows, cols)?;
    expect(x.len().is_multiple_of(cols), "vectors as long as the rows")?;
    let panels = pack(format, rows, cols)?;
    let mut owned = Owned::new(table, x, x.len() / cols, cols);
    let activations = owned.activations();
    let (n_tokens, stride) = (activations.n_row, n_rows.next_multiple_of(LANES));
    let mut padded = vec![0f32; n_tokens * stride];
    if n_tokens > 0 {
        let panels = (panels.as_ptr(), n_rows.div_ceil(LANES));
        // SAFETY: the processor runs the table; the panels are whole, and their outputs have a place in each row.
        unsafe { table.multiply(format, panels, &activations, (0, n_tokens), padded.as_mut_ptr(), stride) };
    }
    Ok(padded.chunks_exact(stride.max(1)).flat_map(|row| row[..n_rows].iter().copied()).collect())
}

/// Keys and values of one head as the cache lays out a tile: `[8][head_dim][16]` and `[128][dim_stride]`.
fn tile_of<T: Copy + Default>(k: &[f32], v: &[f32], head_dim: usize, convert: fn(f32) -> T) -> (Vec<T>, Vec<T>) {
    let dim_stride = head_dim.next_multiple_of(LANES);
    let mut keys = vec![T::default(); TILE_POSITIONS * head_dim];
    let mut values = vec![T::default(); TILE_POSITIONS * dim_stride];
    for (pos, (k, v)) in k.chunks_exact(head_dim).zip(v.chunks_exact(head_dim)).enumerate() {
        for e in 0..head_dim {
            keys[(pos / LANES * head_dim + e) * LANES + pos % LANES] = convert(k[e]);
            values[pos * dim_stride + e] = convert(v[e]);
        }
    }
    (keys, values)
}

/// Attention of `q` `[n_tokens, n_head, head_dim]` at positions `first_pos`, … over `k` and `v` `[n_head_kv, n_pos, head_dim]`,
/// which pass through the cache's type.
pub fn attention(
    table: &Kernels,
    q: &[f32],
    shape: [usize; 3],
    first_pos: usize,
    k: &[f32],
    v: &[f32],
    kv_shape: [usize; 3],
    kv: &str,
) -> Result<Vec<f32>, Expected> {
    let ([n_tokens, n_head, head_dim], [n_head_kv, n_pos, kv_dim]) = (shape, kv_shape);
    expect_shape(q, &shape)?;
    expect_shape(k, &kv_shape)?;
    expect(k.len() == v.len() && kv_dim == head_dim, "keys and values of the queries' head_dim")?;
    expect(n_head_kv > 0 && n_head.is_multiple_of(n_head_kv), "heads in whole groups")?;
    let n_needed = first_pos.checked_add(n_tokens);
    expect(n_tokens > 0 && head_dim > 0 && n_needed == Some(n_pos), "a key for every position")?;
    expect(kv == "f16" || kv == "f32", "kv f16 or f32")?;
    let (group, dim_stride) = (n_head / n_head_kv, head_dim.next_multiple_of(LANES));
    let mut out = vec![0f32; q.len()];
    // One query at a time and one head at a time; the engine takes several, and must get the same.
    for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let (t, head) = (i / n_head, i % n_head);
        let mut query = vec![0f32; dim_stride];
        query[..head_dim].copy_from_slice(&q[i * head_dim..][..head_dim]);
        // SAFETY: the processor runs the table; the query holds head_dim values.
        unsafe { (table.scale)(query.as_mut_ptr(), 1.0 / sqrt_f32(head_dim as f32), head_dim) };
        let (mut m, mut l, mut o) = (0f32, 0f32, vec![0f32; dim_stride]);
        let mut tile = Tile {
            head_dim,
            dim_stride,
            n_query: 1,
            first: true,
            q: query.as_ptr(),
            n_valid: core::ptr::null(),
            k: core::ptr::null(),
            v: core::ptr::null(),
            m: &raw mut m,
            l: &raw mut l,
            o: o.as_mut_ptr(),
        };
        for start in (0..=first_pos + t).step_by(TILE_POSITIONS) {
            let n_valid = (first_pos + t + 1 - start).min(TILE_POSITIONS) as u32;
            let base = head / group * n_pos;
            let rows = (base + start) * head_dim..(base + n_pos.min(start + TILE_POSITIONS)) * head_dim;
            tile.first = start == 0;
            tile.n_valid = &raw const n_valid;
            if kv == "f16" {
                let (k, v) = tile_of(&k[rows.clone()], &v[rows], head_dim, f32_to_f16);
                (tile.k, tile.v) = (k.as_ptr().cast(), v.as_ptr().cast());
                // SAFETY: the processor runs the table; k and v have the shapes of a tile, in f16.
                unsafe { (table.attend_f16)(&tile) };
            } else {
                let (k, v) = tile_of(&k[rows.clone()], &v[rows], head_dim, |x| x);
                (tile.k, tile.v) = (k.as_ptr().cast(), v.as_ptr().cast());
                // SAFETY: the processor runs the table; k and v have the shapes of a tile, in f32.
                unsafe { (table.attend_f32)(&tile) };
            }
        }
        // SAFETY: the processor runs the table; the output of one head has head_dim places.
        unsafe { (table.finish)(&tile, out.as_mut_ptr(), head_dim) };
    }
    Ok(out)
}
