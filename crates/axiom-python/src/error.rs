//! Core errors as Python exceptions: one map for all of them.

use axiom_core::error::{Error, ErrorClass};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// The exception that says what `error` says.
pub fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error.class() {
        ErrorClass::ModelFormat => "ModelFormatError",
        ErrorClass::UnsupportedModel => "UnsupportedModelError",
        ErrorClass::MemoryBudget => "MemoryBudgetError",
        ErrorClass::ContextLength => "ContextLengthError",
        ErrorClass::Numeric => "NumericError",
        ErrorClass::Stopped => "PassStopped",
        ErrorClass::Io => return PyOSError::new_err(error.to_string()),
        ErrorClass::Defect => return PyRuntimeError::new_err(error.to_string()),
        ErrorClass::Argument => return PyValueError::new_err(error.to_string()),
    };
    exception(py, class, error.to_string())
}

/// The exception for memory that the system refused, or does not have.
pub fn out_of_memory(py: Python<'_>, message: String) -> PyErr {
    exception(py, "MemoryBudgetError", message)
}

/// An exception of `axiom.errors`.
fn exception(py: Python<'_>, class: &str, message: String) -> PyErr {
    let made = py.import("axiom.errors").and_then(|errors| errors.getattr(class)?.call1((message,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}
