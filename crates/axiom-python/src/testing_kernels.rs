//! `axiom._native.testing.kernels`: the kernels of any table over arrays, for comparison with the reference.
//!
//! The functions have the names and meanings of those in `axiom.reference.testing`; their first argument names the table.
//! Each copies into memory of its own, in the layout that the kernels want, so that a wrong shape is an error and not a
//! wild read.

use pyo3::prelude::*;

/// The functions of the kernel tables, and packing.
#[pymodule]
pub mod kernels {
    use axiom_core::arithmetic::activation::{Activations, Block};
    use axiom_core::arithmetic::attention::Tile;
    use axiom_core::arithmetic::half::f32_to_f16;
    use axiom_core::arithmetic::{BLOCK, LANES, TILE_POSITIONS};
    use axiom_core::format::Format;
    use axiom_core::format::pack::{pack_panel, unpack_row};
    use axiom_core::kernels::{CpuFeatures, Kernels};
    use numpy::{
        PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3,
        PyUntypedArrayMethods,
    };
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    fn table(name: &str) -> PyResult<&'static Kernels> {
        Kernels::choose(&CpuFeatures::detect(), Some(name)).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn format(name: &str) -> PyResult<Format> {
        Format::from_name(name).ok_or_else(|| PyValueError::new_err(format!("no weight format is named {name:?}")))
    }

    fn expect(holds: bool, what: &str) -> PyResult<()> {
        if holds { Ok(()) } else { Err(PyValueError::new_err(format!("expected {what}"))) }
    }

    /// The tables that this processor can run, best first.
    #[pyfunction]
    fn tables() -> Vec<&'static str> {
        let cpu = CpuFeatures::detect();
        Kernels::all().iter().filter(|table| table.missing(&cpu).next().is_none()).map(|table| table.name).collect()
    }

    /// e^x of each element.
    #[pyfunction]
    fn exp<'py>(table_name: &str, x: PyReadonlyArray1<'py, f32>) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let mut out = vec![0f32; x.len()];
        // SAFETY: the processor runs the table; both arrays hold `out.len()` values.
        unsafe { (table(table_name)?.exp)(x.as_slice()?.as_ptr(), out.len(), out.as_mut_ptr()) };
        Ok(PyArray1::from_vec(x.py(), out))
    }

    /// f32 as f16 bits, to nearest even.
    #[pyfunction]
    fn to_f16<'py>(table_name: &str, x: PyReadonlyArray1<'py, f32>) -> PyResult<Bound<'py, PyArray1<u16>>> {
        let mut out = vec![0u16; x.len()];
        // SAFETY: the processor runs the table; both arrays hold `out.len()` values.
        unsafe { (table(table_name)?.to_f16)(x.as_slice()?.as_ptr(), out.len(), out.as_mut_ptr()) };
        Ok(PyArray1::from_vec(x.py(), out))
    }

    /// Each row of `x` `[n_tokens, n]`, normed.
    #[pyfunction]
    fn rms_norm<'py>(
        table_name: &str,
        x: PyReadonlyArray2<'py, f32>,
        w: PyReadonlyArray1<'py, f32>,
        eps: f32,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let n = x.shape()[1];
        expect(w.len() == n && n > 0, "as many weights as columns")?;
        let (table, w) = (table(table_name)?, w.as_slice()?);
        let mut out = x.as_slice()?.to_vec();
        for row in out.chunks_exact_mut(n) {
            // SAFETY: the processor runs the table; all three hold n values, and the output may be the input.
            unsafe { (table.rms_norm)(row.as_ptr(), w.as_ptr(), n, eps, row.as_mut_ptr()) };
        }
        PyArray1::from_vec(x.py(), out).reshape(x.dims())
    }

    /// `silu(gate) × up`, element by element.
    #[pyfunction]
    fn silu_mul<'py>(
        table_name: &str,
        gate: PyReadonlyArray1<'py, f32>,
        up: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        expect(gate.len() == up.len(), "as many of one as of the other")?;
        let mut out = vec![0f32; gate.len()];
        let (gate_values, up) = (gate.as_slice()?, up.as_slice()?);
        // SAFETY: the processor runs the table; all three hold `out.len()` values.
        unsafe { (table(table_name)?.silu_mul)(gate_values.as_ptr(), up.as_ptr(), out.len(), out.as_mut_ptr()) };
        Ok(PyArray1::from_vec(gate.py(), out))
    }

    /// Turns `x` `[n_tokens, n_head, head_dim]` by `cos` and `sin` `[n_tokens, n_pair]`.
    #[pyfunction]
    fn rope<'py>(
        table_name: &str,
        x: PyReadonlyArray3<'py, f32>,
        cos: PyReadonlyArray2<'py, f32>,
        sin: PyReadonlyArray2<'py, f32>,
        pairing: &str,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let table = table(table_name)?;
        let &[n_tokens, n_head, head_dim] = x.shape() else { unreachable!("three dimensions") };
        let n_pair = cos.shape()[1];
        expect(cos.shape() == sin.shape() && cos.shape()[0] == n_tokens, "cos and sin of every token")?;
        expect(2 * n_pair <= head_dim && n_pair > 0 && n_head > 0, "pairs within a head")?;
        let mut out = x.as_slice()?.to_vec();
        let (cos, sin) = (cos.as_slice()?, sin.as_slice()?);
        for (i, head) in out.chunks_exact_mut(head_dim).enumerate() {
            let at = i / n_head * n_pair;
            let (cos, sin) = (&cos[at..at + n_pair], &sin[at..at + n_pair]);
            // SAFETY: the processor runs the table; the head holds 2 × n_pair values, cos and sin n_pair.
            unsafe { (table.rope)(head.as_mut_ptr(), cos.as_ptr(), sin.as_ptr(), n_pair, pairing == "norm") };
        }
        PyArray1::from_vec(x.py(), out).reshape(x.dims())
    }

    /// Rows of activations in the memory of a test.
    struct Rows {
        x: Vec<f32>,
        blocks: Vec<Block>,
        n_block: usize,
        n_row: usize,
        widest: usize,
    }

    impl Rows {
        /// Copies `x` `[n_row, n]`, pads its rows with zeros to whole blocks and quantises them.
        fn new(table: &Kernels, x: &PyReadonlyArray2<'_, f32>) -> PyResult<Rows> {
            let &[n_row, n] = x.shape() else { unreachable!("two dimensions") };
            expect(n > 0, "at least one column")?;
            let n_block = n.div_ceil(BLOCK);
            let mut padded = vec![0f32; n_row * n_block * BLOCK];
            for (row, values) in padded.chunks_exact_mut(n_block * BLOCK).zip(x.as_slice()?.chunks_exact(n)) {
                row[..n].copy_from_slice(values);
            }
            let unwritten = Block { q: [0; BLOCK], d: 0.0, m: 0.0, s: [0; 2], sum: 0 };
            let blocks = vec![unwritten; n_row * n_block];
            let mut rows = Rows { x: padded, blocks, n_block, n_row, widest: table.tile };
            let activations = rows.activations();
            for row in 0..n_row {
                // SAFETY: the processor runs the table; the row has n_block blocks, and nobody else has them.
                unsafe { (table.quantize)(&activations, row, 0, n_block) };
            }
            Ok(rows)
        }

        fn activations(&mut self) -> Activations {
            Activations {
                x: self.x.as_mut_ptr(),
                blocks: self.blocks.as_mut_ptr(),
                n_block: self.n_block,
                n_row: self.n_row,
                widest: self.widest,
            }
        }
    }

    type Quantized<'py> = (
        Bound<'py, PyArray3<i8>>,
        Bound<'py, PyArray2<f32>>,
        Bound<'py, PyArray2<i32>>,
        Bound<'py, PyArray2<i32>>,
        Bound<'py, PyArray2<f32>>,
    );

    /// Rows of `x` `[n_tokens, n]` as (q, d, s0, s1, m).
    #[pyfunction]
    fn quantize<'py>(table_name: &str, x: PyReadonlyArray2<'py, f32>) -> PyResult<Quantized<'py>> {
        let mut rows = Rows::new(table(table_name)?, &x)?;
        let (n_row, n_block) = (rows.n_row, rows.n_block);
        let activations = rows.activations();
        let blocks: Vec<Block> = (0..n_row)
            // SAFETY: the row and the block exist.
            .flat_map(|row| (0..n_block).map(move |b| unsafe { *activations.block(row, b) }))
            .collect();
        let py = x.py();
        let shape = [n_row, n_block];
        let numbers = |of: fn(&Block) -> f32| PyArray1::from_iter(py, blocks.iter().map(of)).reshape(shape);
        let sums =
            |half: usize| PyArray1::from_iter(py, blocks.iter().map(|block| i32::from(block.s[half]))).reshape(shape);
        let q = PyArray1::from_iter(py, blocks.iter().flat_map(|block| block.q)).reshape([n_row, n_block, BLOCK])?;
        Ok((q, numbers(|block| block.d)?, sums(0)?, sums(1)?, numbers(|block| block.m)?))
    }

    /// Panels of the rows of a matrix, one after the other.
    fn panels(format: Format, rows: &PyReadonlyArray2<'_, u8>, cols: usize) -> PyResult<Vec<u8>> {
        let bytes_row = format.bytes_row(cols).unwrap_or(0);
        expect(bytes_row > 0 && rows.shape()[1] == bytes_row, "rows of whole blocks")?;
        let bytes_panel = format.bytes_panel(cols).unwrap_or(0);
        let mut out = vec![0u8; bytes_panel * rows.shape()[0].div_ceil(LANES)];
        for (panel, rows) in out.chunks_exact_mut(bytes_panel).zip(rows.as_slice()?.chunks(LANES * bytes_row)) {
            pack_panel(format, rows, cols, panel);
        }
        Ok(out)
    }

    /// The panels of `rows` `[n_rows, bytes]`.
    #[pyfunction]
    fn pack<'py>(format_name: &str, rows: PyReadonlyArray2<'py, u8>, cols: usize) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(rows.py(), &panels(format(format_name)?, &rows, cols)?))
    }

    /// The rows of panels, as they were in the file.
    #[pyfunction]
    fn unpack<'py>(
        py: Python<'py>,
        format_name: &str,
        panels: &[u8],
        n_rows: usize,
        cols: usize,
    ) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let format = format(format_name)?;
        let (bytes_row, bytes_panel) = (format.bytes_row(cols).unwrap_or(0), format.bytes_panel(cols).unwrap_or(0));
        expect(bytes_row > 0 && panels.len() == bytes_panel * n_rows.div_ceil(LANES), "whole panels")?;
        let mut out = vec![0u8; n_rows * bytes_row];
        for (i, row) in out.chunks_exact_mut(bytes_row).enumerate() {
            unpack_row(format, &panels[i / LANES * bytes_panel..][..bytes_panel], i % LANES, cols, row);
        }
        PyArray1::from_vec(py, out).reshape([n_rows, bytes_row])
    }

    /// Rows `[n_rows, bytes]` as f32 `[n_rows, cols]`.
    #[pyfunction]
    fn dequantize<'py>(
        format_name: &str,
        rows: PyReadonlyArray2<'py, u8>,
        cols: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let format = format(format_name)?;
        let bytes_row = format.bytes_row(cols).unwrap_or(0);
        expect(bytes_row > 0 && rows.shape()[1] == bytes_row, "rows of whole blocks")?;
        let n_rows = rows.shape()[0];
        let mut out = vec![0f32; n_rows * cols];
        for (out, row) in out.chunks_exact_mut(cols).zip(rows.as_slice()?.chunks_exact(bytes_row)) {
            format.dequantize_row(row, out);
        }
        PyArray1::from_vec(rows.py(), out).reshape([n_rows, cols])
    }

    /// The product of a matrix with `x` `[n_tokens, cols]`: `[n_tokens, n_rows]`.
    #[pyfunction]
    fn matmul<'py>(
        table_name: &str,
        format_name: &str,
        rows: PyReadonlyArray2<'py, u8>,
        cols: usize,
        x: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (table, format) = (table(table_name)?, format(format_name)?);
        expect(x.shape()[1] == cols, "vectors as long as the rows")?;
        let panels = panels(format, &rows, cols)?;
        let mut activations = Rows::new(table, &x)?;
        let (n_rows, n_tokens) = (rows.shape()[0], activations.n_row);
        let stride = n_rows.next_multiple_of(LANES);
        let mut padded = vec![0f32; n_tokens * stride];
        let activations = activations.activations();
        for (i, panel) in panels.chunks_exact(format.bytes_panel(cols).unwrap_or(1)).enumerate() {
            // SAFETY: the processor runs the table; the panel is whole; column 16 i of every output row has 16 places.
            unsafe {
                let out = padded.as_mut_ptr().add(i * LANES);
                table.multiply(format, panel.as_ptr(), &activations, (0, n_tokens), out, stride);
            }
        }
        let out: Vec<f32> = padded.chunks_exact(stride.max(1)).flat_map(|row| row[..n_rows].iter().copied()).collect();
        PyArray1::from_vec(x.py(), out).reshape([n_tokens, n_rows])
    }

    /// Keys and values of one head as the cache lays out a tile: `[8][head_dim][16]` and `[128][dim_stride]`.
    fn tile_of<T: Copy + Default>(rows: &[f32], head_dim: usize, convert: fn(f32) -> T) -> (Vec<T>, Vec<T>) {
        let dim_stride = head_dim.next_multiple_of(LANES);
        let mut k = vec![T::default(); TILE_POSITIONS * head_dim];
        let mut v = vec![T::default(); TILE_POSITIONS * dim_stride];
        for (pos, row) in rows.chunks_exact(head_dim).enumerate() {
            for (e, &x) in row.iter().enumerate() {
                k[(pos / LANES * head_dim + e) * LANES + pos % LANES] = convert(x);
                v[pos * dim_stride + e] = convert(x);
            }
        }
        (k, v)
    }

    /// Attention of `q` `[n_tokens, n_head, head_dim]` at positions `first_pos`, … over `k` and `v` `[n_head_kv, n_pos, head_dim]`.
    #[pyfunction]
    fn attention<'py>(
        table_name: &str,
        q: PyReadonlyArray3<'py, f32>,
        first_pos: usize,
        k: PyReadonlyArray3<'py, f32>,
        v: PyReadonlyArray3<'py, f32>,
        kv: &str,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let table = table(table_name)?;
        let &[n_tokens, n_head, head_dim] = q.shape() else { unreachable!("three dimensions") };
        let &[n_head_kv, n_pos, _] = k.shape() else { unreachable!("three dimensions") };
        expect(k.shape() == v.shape() && k.shape()[2] == head_dim, "keys and values of the queries' head_dim")?;
        expect(n_head_kv > 0 && n_head % n_head_kv == 0, "heads in whole groups")?;
        expect(n_tokens > 0 && head_dim > 0 && n_pos == first_pos + n_tokens, "a key for every position")?;
        expect(kv == "f16" || kv == "f32", "kv f16 or f32")?;
        let (group, dim_stride) = (n_head / n_head_kv, head_dim.next_multiple_of(LANES));
        let (q_values, k, v) = (q.as_slice()?, k.as_slice()?, v.as_slice()?);
        let mut out = vec![0f32; q_values.len()];

        // One query at a time and one head at a time; the engine takes several, and must get the same.
        for t in 0..n_tokens {
            for head in 0..n_head {
                let at = (t * n_head + head) * head_dim;
                let mut query = vec![0f32; dim_stride];
                query[..head_dim].copy_from_slice(&q_values[at..at + head_dim]);
                // SAFETY: the processor runs the table; the query holds head_dim values.
                unsafe { (table.scale)(query.as_mut_ptr(), 1.0 / (head_dim as f32).sqrt(), head_dim) };
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
                        let (k, _) = tile_of(&k[rows.clone()], head_dim, f32_to_f16);
                        let (_, v) = tile_of(&v[rows], head_dim, f32_to_f16);
                        (tile.k, tile.v) = (k.as_ptr().cast(), v.as_ptr().cast());
                        // SAFETY: the processor runs the table; k and v have the shapes of a tile, in f16.
                        unsafe { (table.attend_f16)(&tile) };
                    } else {
                        let (k, _) = tile_of(&k[rows.clone()], head_dim, |x| x);
                        let (_, v) = tile_of(&v[rows], head_dim, |x| x);
                        (tile.k, tile.v) = (k.as_ptr().cast(), v.as_ptr().cast());
                        // SAFETY: the processor runs the table; k and v have the shapes of a tile, in f32.
                        unsafe { (table.attend_f32)(&tile) };
                    }
                }
                // SAFETY: the processor runs the table; the output of one head has head_dim places.
                unsafe { (table.finish)(&tile, out[at..].as_mut_ptr(), head_dim) };
            }
        }
        PyArray1::from_vec(q.py(), out).reshape(q.dims())
    }
}
