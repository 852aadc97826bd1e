//! Core errors as Python exceptions: one map for all of them.

use axiom_core::error::Error;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

/// The exception that says what `error` says.
pub fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Config { .. }
        | Error::Shape { .. }
        | Error::MissingTensor { .. }
        | Error::UnknownTensor { .. }
        | Error::Damaged { .. }
        | Error::NotAnImage
        | Error::NewerImage { .. }
        | Error::DamagedHead
        | Error::Image { .. }
        | Error::Metadata { .. } => "ModelFormatError",
        Error::UnsupportedTokenizer { .. } => "UnsupportedModelError",
        Error::Region { .. } | Error::NoSequence { .. } => "MemoryBudgetError",
        Error::ContextLength { .. } => "ContextLengthError",
        Error::NotFinite { .. } => "NumericError",
        Error::Cancelled => "PassStopped",
        Error::Read { .. } | Error::Silence { .. } | Error::UnknownTag { .. } | Error::Completion { .. } => {
            return PyOSError::new_err(error.to_string());
        }
        Error::SlotState { .. } | Error::Position { .. } | Error::LayerLock { .. } => {
            return PyRuntimeError::new_err(error.to_string());
        }
        Error::Stream { .. } | Error::Budget { .. } => "MemoryBudgetError",
        Error::UnknownKernels { .. }
        | Error::UnsupportedKernels { .. }
        | Error::UnknownSequence { .. }
        | Error::SequenceTwice { .. }
        | Error::NoTokens { .. }
        | Error::LogitRows { .. }
        | Error::Token { .. }
        | Error::Rewind { .. }
        | Error::SavedSequence { .. }
        | Error::OutputSize { .. }
        | Error::TokenId { .. }
        | Error::NoTokenForByte { .. }
        | Error::TextTooLong { .. } => return PyValueError::new_err(error.to_string()),
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
