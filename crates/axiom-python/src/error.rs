//! Core errors as Python exceptions, one map for all of them.

use axiom_core::error::Error;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The exception that says what `error` says.
pub fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Metadata { .. } => "ModelFormatError",
        Error::UnsupportedTokenizer { .. } => "UnsupportedModelError",
        _ => return PyValueError::new_err(error.to_string()),
    };
    match py.import("axiom.errors").and_then(|errors| errors.getattr(class)).and_then(|c| c.call1((error.to_string(),)))
    {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}
