//! `axiom._native.testing.pretokenize`: how a text is cut before byte-level BPE, for tests that compare the cuts.

use crate::error::to_py;
use axiom_core::text::pretokenize::{by_name, split};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// The words of `text` as bytes, cut as `tokenizer.ggml.pre` = `name` says.
#[pyfunction]
pub fn pretokenize<'py>(py: Python<'py>, name: &str, text: &str) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let pre = by_name(Some(name)).map_err(|error| to_py(py, &error))?;
    let mut words = Vec::new();
    split(pre, text, &mut words);
    let bytes = text.as_bytes();
    Ok(words.iter().map(|&(start, end)| PyBytes::new(py, &bytes[start..end])).collect())
}
