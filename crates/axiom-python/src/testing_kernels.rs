//! `axiom._native.testing.kernels`: the kernels of any table over arrays, for comparison with the reference.
//!
//! The functions have the names and meanings of those in `axiom.reference.testing`; their first argument names the table.
//! `axiom_core::conformance::calls` runs them.

use pyo3::prelude::*;

/// The functions of the kernel tables, and packing.
#[pymodule]
pub mod kernels {
    use axiom_core::arithmetic::BLOCK;
    use axiom_core::arithmetic::block::Block;
    use axiom_core::conformance::calls;
    use axiom_core::format::Format;
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

    fn wrong(expected: &str) -> PyErr {
        PyValueError::new_err(format!("expected {expected}"))
    }

    fn expect(holds: bool, what: &str) -> PyResult<()> {
        if holds { Ok(()) } else { Err(wrong(what)) }
    }

    fn shape3(array: &PyReadonlyArray3<'_, f32>) -> [usize; 3] {
        [array.shape()[0], array.shape()[1], array.shape()[2]]
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
        Ok(PyArray1::from_vec(x.py(), calls::exp(table(table_name)?, x.as_slice()?)))
    }

    /// f32 as f16 bits, to nearest even.
    #[pyfunction]
    fn to_f16<'py>(table_name: &str, x: PyReadonlyArray1<'py, f32>) -> PyResult<Bound<'py, PyArray1<u16>>> {
        Ok(PyArray1::from_vec(x.py(), calls::to_f16(table(table_name)?, x.as_slice()?)))
    }

    /// Each row of `x` `[n_tokens, n]`, normed.
    #[pyfunction]
    fn rms_norm<'py>(
        table_name: &str,
        x: PyReadonlyArray2<'py, f32>,
        w: PyReadonlyArray1<'py, f32>,
        eps: f32,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        expect(w.len() == x.shape()[1], "as many weights as columns")?;
        let out = calls::rms_norm(table(table_name)?, x.as_slice()?, w.as_slice()?, eps).map_err(wrong)?;
        PyArray1::from_vec(x.py(), out).reshape(x.dims())
    }

    /// `silu(gate) × up`, element by element.
    #[pyfunction]
    fn silu_mul<'py>(
        table_name: &str,
        gate: PyReadonlyArray1<'py, f32>,
        up: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let out = calls::silu_mul(table(table_name)?, gate.as_slice()?, up.as_slice()?).map_err(wrong)?;
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
        let shape = shape3(&x);
        expect(cos.shape() == sin.shape() && cos.shape()[0] == shape[0], "cos and sin of every token")?;
        let (values, cos, sin) = (x.as_slice()?, cos.as_slice()?, sin.as_slice()?);
        let out = calls::rope(table(table_name)?, values, shape, cos, sin, pairing).map_err(wrong)?;
        PyArray1::from_vec(x.py(), out).reshape(x.dims())
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
        let (py, n_row, n) = (x.py(), x.shape()[0], x.shape()[1]);
        let blocks = calls::quantize(table(table_name)?, x.as_slice()?, [n_row, n]).map_err(wrong)?;
        let shape = [n_row, n.div_ceil(BLOCK)];
        let numbers = |of: fn(&Block) -> f32| PyArray1::from_iter(py, blocks.iter().map(of)).reshape(shape);
        let sums =
            |half: usize| PyArray1::from_iter(py, blocks.iter().map(|block| i32::from(block.s[half]))).reshape(shape);
        let q = PyArray1::from_iter(py, blocks.iter().flat_map(|block| block.q)).reshape([n_row, shape[1], BLOCK])?;
        Ok((q, numbers(|block| block.d)?, sums(0)?, sums(1)?, numbers(|block| block.m)?))
    }

    /// As many bytes in each row as `cols` weights take.
    fn expect_rows(format: Format, rows: &PyReadonlyArray2<'_, u8>, cols: usize) -> PyResult<()> {
        expect(format.bytes_row(cols) == Some(rows.shape()[1]), "rows of whole blocks")
    }

    /// The panels of `rows` `[n_rows, bytes]`.
    #[pyfunction]
    fn pack<'py>(format_name: &str, rows: PyReadonlyArray2<'py, u8>, cols: usize) -> PyResult<Bound<'py, PyBytes>> {
        let format = format(format_name)?;
        expect_rows(format, &rows, cols)?;
        Ok(PyBytes::new(rows.py(), &calls::pack(format, rows.as_slice()?, cols).map_err(wrong)?))
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
        let out = calls::unpack(format(format_name)?, panels, n_rows, cols).map_err(wrong)?;
        let bytes_row = out.len() / n_rows.max(1);
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
        expect_rows(format, &rows, cols)?;
        let out = calls::dequantize(format, rows.as_slice()?, cols).map_err(wrong)?;
        PyArray1::from_vec(rows.py(), out).reshape([rows.shape()[0], cols])
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
        expect_rows(format, &rows, cols)?;
        let out = calls::matmul(table, format, rows.as_slice()?, cols, x.as_slice()?).map_err(wrong)?;
        PyArray1::from_vec(x.py(), out).reshape([x.shape()[0], rows.shape()[0]])
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
        expect(k.shape() == v.shape(), "as many keys as values")?;
        let (shape, kv_shape) = (shape3(&q), shape3(&k));
        let (values, k, v) = (q.as_slice()?, k.as_slice()?, v.as_slice()?);
        let out = calls::attention(table(table_name)?, values, shape, first_pos, k, v, kv_shape, kv);
        PyArray1::from_vec(q.py(), out.map_err(wrong)?).reshape(q.dims())
    }
}
