//! Bytes and numbers as Python hands them over: integers of any size, and a message that names the argument and its range.

use numpy::PyReadonlyArray1;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::fmt;

/// A Python integer (anything with `__index__`), not yet held against a range.
pub struct Integer {
    /// `None` beyond 128 bits, where every range ends.
    value: Option<i128>,
    text: String,
}

impl Integer {
    /// The integer of a default.
    pub fn of(value: i128) -> Self {
        Self { value: Some(value), text: value.to_string() }
    }

    /// The integer, if it has at most 128 bits.
    pub fn value(&self) -> Option<i128> {
        self.value
    }

    /// The integer, if it is from `low` to `high`; `valid` says so in words.
    ///
    /// # Errors
    /// `ValueError` that names the argument, the range and what came.
    pub fn within(&self, name: &str, valid: &str, low: i128, high: i128) -> PyResult<i128> {
        match self.value {
            Some(value) if low <= value && value <= high => Ok(value),
            _ => Err(PyValueError::new_err(format!("{name} must be {valid}, got {}", self.text))),
        }
    }

    /// The integer as 32 bits without sign.
    ///
    /// # Errors
    /// `ValueError` that names the argument, the range and what came.
    pub fn as_u32(&self, name: &str) -> PyResult<u32> {
        Ok(self.within(name, "from 0 to 4294967295", 0, i128::from(u32::MAX))? as u32)
    }

    /// The integer as a token of a vocabulary of `n_vocab` tokens.
    ///
    /// # Errors
    /// `ValueError` that names the argument, the range and what came.
    pub fn as_token(&self, name: &str, n_vocab: usize) -> PyResult<u32> {
        let last = n_vocab as i128 - 1;
        Ok(self.within(name, &format!("from 0 to {last}"), 0, last)? as u32)
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'py> FromPyObject<'_, 'py> for Integer {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i128>() {
            Ok(value) => Ok(Self::of(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Self { value: None, text: object.str()?.to_string() })
            }
            Err(error) => Err(error),
        }
    }
}

/// A Python number as binary64; an integer too large for one is a `ValueError`.
pub struct Number(pub f64);

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<f64>() {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Err(PyValueError::new_err("beyond every valid value: an integer too large for a float"))
            }
            Err(error) => Err(error),
        }
    }
}

/// Bytes of the caller: an object of them, or a contiguous uint8 array.
#[derive(FromPyObject)]
pub enum Bytes<'py> {
    /// Told without numpy.
    Object(Bound<'py, PyBytes>),
    /// Of numpy.
    Array(PyReadonlyArray1<'py, u8>),
}

impl Bytes<'_> {
    /// The bytes.
    ///
    /// # Errors
    ///
    /// Those of an array with gaps.
    pub fn as_slice(&self) -> PyResult<&[u8]> {
        match self {
            Bytes::Object(bytes) => Ok(bytes.as_bytes()),
            Bytes::Array(array) => Ok(array.as_slice()?),
        }
    }
}
