//! Core errors as Python exceptions: one map for all of them.

use axiom_core::error::{Error, ErrorClass};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::path::Path;

/// The exception that says what `error` says.
pub fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    exception_for(py, error.class(), error.to_string())
}

/// The same, with the name of the model's file where the fault may be the file's.
pub fn to_py_about(py: Python<'_>, file: Option<&Path>, error: &Error) -> PyErr {
    match (file.and_then(Path::file_name), error.class()) {
        (Some(name), class @ (ErrorClass::ModelFormat | ErrorClass::Io)) => {
            exception_for(py, class, format!("{}: {error}", name.to_string_lossy()))
        }
        _ => to_py(py, error),
    }
}

fn exception_for(py: Python<'_>, class: ErrorClass, message: String) -> PyErr {
    let class = match class {
        ErrorClass::ModelFormat => "ModelFormatError",
        ErrorClass::UnsupportedModel => "UnsupportedModelError",
        ErrorClass::MemoryBudget => "MemoryBudgetError",
        ErrorClass::ContextLength => "ContextLengthError",
        ErrorClass::Numeric => "NumericError",
        ErrorClass::Stopped => "PassStopped",
        ErrorClass::Io => return PyOSError::new_err(message),
        ErrorClass::Defect => return PyRuntimeError::new_err(message),
        ErrorClass::Argument => return PyValueError::new_err(message),
    };
    exception(py, class, message)
}

/// The exception for memory that the system refused, or does not have.
pub fn out_of_memory(py: Python<'_>, message: String) -> PyErr {
    exception(py, "MemoryBudgetError", message)
}

/// What the system says about a file, with its name.
pub fn system_to_py(file: &Path, error: &std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(code) => PyOSError::new_err((code, error.to_string(), file.display().to_string())),
        None => PyOSError::new_err(format!("{}: {error}", file.display())),
    }
}

/// The exception for a file that is no longer the one that was opened.
pub fn replaced(py: Python<'_>, file: &Path) -> PyErr {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let remedy = "another program has replaced or rewritten it; open it again";
    exception(py, "ModelFormatError", format!("{name}: expected the image that was opened, got another: {remedy}"))
}

/// An exception of `axiom.errors`.
fn exception(py: Python<'_>, class: &str, message: String) -> PyErr {
    let made = py.import("axiom.errors").and_then(|errors| errors.getattr(class)?.call1((message,)));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}
