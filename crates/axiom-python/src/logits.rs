//! `axiom._native.Logits`: what a pass computed, for samplers to read where it lies. Numpy, which takes longer to import than a
//! model to load, is needed by those alone who ask for an array.

use axiom_host::float_mode::StandardFloat;
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PySlice};
use std::ops::Range;
use std::sync::Arc;

/// Logits after some positions, float32 `[n_rows, n_vocab]`: a list of rows, of which `numpy.asarray` makes an array.
#[pyclass(frozen, module = "axiom._native")]
pub struct Logits {
    values: Arc<Vec<f32>>,
    rows: Range<usize>,
    n_vocab: usize,
}

/// The logits after one position, float32 `[n_vocab]`.
#[pyclass(frozen, module = "axiom._native")]
pub struct LogitRow {
    values: Arc<Vec<f32>>,
    range: Range<usize>,
}

impl Logits {
    /// `values` are rows of `n_vocab`.
    pub fn new(values: Vec<f32>, n_vocab: usize) -> Logits {
        let rows = 0..values.len() / n_vocab;
        Logits { values: Arc::new(values), rows, n_vocab }
    }

    /// Row `row` of all that there are.
    fn row(&self, row: usize) -> LogitRow {
        LogitRow { values: Arc::clone(&self.values), range: row * self.n_vocab..(row + 1) * self.n_vocab }
    }
}

impl LogitRow {
    /// The numbers.
    pub fn values(&self) -> &[f32] {
        &self.values[self.range.clone()]
    }
}

#[pymethods]
impl Logits {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    /// One row, or some that follow each other.
    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            let indices = slice.indices(self.rows.len() as isize)?;
            if indices.step != 1 {
                return Err(PyValueError::new_err("logits: expected rows that follow each other, got a step"));
            }
            let start = self.rows.start + indices.start as usize;
            let rows = start..start + indices.slicelength;
            let logits = Logits { values: Arc::clone(&self.values), rows, n_vocab: self.n_vocab };
            return Ok(Bound::new(py, logits)?.into_any());
        }
        let index: isize = index.extract()?;
        let row = if index < 0 { index + self.rows.len() as isize } else { index };
        if row < 0 || row as usize >= self.rows.len() {
            return Err(PyIndexError::new_err(format!(
                "logits: expected one of {} rows, got {index}",
                self.rows.len()
            )));
        }
        Ok(Bound::new(py, self.row(self.rows.start + row as usize))?.into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let rows: Vec<_> = self.rows.clone().map(|row| Bound::new(py, self.row(row))).collect::<PyResult<_>>()?;
        PyList::new(py, rows)?.try_iter()
    }

    /// A copy as a numpy array.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let values = &self.values[self.rows.start * self.n_vocab..self.rows.end * self.n_vocab];
        let array: Bound<'py, PyArray2<f32>> =
            PyArray1::from_slice(py, values).reshape([self.rows.len(), self.n_vocab])?;
        as_asked(array.into_any(), dtype, copy)
    }
}

#[pymethods]
impl LogitRow {
    fn __len__(&self) -> usize {
        self.range.len()
    }

    /// A copy as a numpy array.
    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        as_asked(PyArray1::from_slice(py, self.values()).into_any(), dtype, copy)
    }
}

/// The array as the caller of `__array__` asks for it.
fn as_asked<'py>(
    array: Bound<'py, PyAny>,
    dtype: Option<&Bound<'py, PyAny>>,
    copy: Option<bool>,
) -> PyResult<Bound<'py, PyAny>> {
    if copy == Some(false) {
        return Err(PyValueError::new_err("logits: an array of them is a copy; leave copy=False away"));
    }
    dtype.map_or(Ok(array.clone()), |dtype| array.call_method1("astype", (dtype,)))
}

/// One row of logits as a slice: [`LogitRow`] where it lies, an array copied where its elements are apart. `body` computes in
/// the mode in which the arithmetic is defined.
///
/// # Errors
///
/// `TypeError` for anything else.
pub fn with_logits<T>(object: &Bound<'_, PyAny>, body: impl FnOnce(&[f32]) -> PyResult<T>) -> PyResult<T> {
    let _mode = StandardFloat::enter();
    if let Ok(row) = object.cast::<LogitRow>() {
        return body(row.get().values());
    }
    let array: numpy::PyReadonlyArray1<'_, f32> =
        object.extract().map_err(|_| PyTypeError::new_err("logits must be a one-dimensional float32 array"))?;
    match array.as_slice() {
        Ok(slice) => body(slice),
        Err(_) => body(&array.as_array().to_vec()),
    }
}
