//! Values of a metadata dictionary, as the core wants them, each checked for its type.

use crate::error::to_py;
use axiom_core::error::Error;
use axiom_core::text::Strings;
use numpy::{PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyString};

/// The error for a key that must be there.
pub fn missing(key: &'static str, expected: &'static str) -> Error {
    Error::Metadata { key, index: None, expected: expected.into(), got: "no such key".into() }
}

fn wrong_type(key: &'static str, index: Option<usize>, expected: &'static str, value: &Bound<'_, PyAny>) -> PyErr {
    let got = value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string());
    to_py(value.py(), &Error::Metadata { key, index, expected: expected.into(), got })
}

/// A string; bytes count where they are UTF-8.
pub fn text(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<String>> {
    let Some(value) = metadata.get_item(key)? else {
        return Ok(None);
    };
    let text = match value.cast::<PyBytes>() {
        Ok(bytes) => String::from_utf8(bytes.as_bytes().to_vec()).ok(),
        Err(_) => value.extract::<String>().ok(),
    };
    text.map(Some).ok_or_else(|| wrong_type(key, None, "a string", &value))
}

/// True or false.
pub fn flag(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<bool>> {
    let Some(value) = metadata.get_item(key)? else {
        return Ok(None);
    };
    value.extract::<bool>().map(Some).map_err(|_| wrong_type(key, None, "a bool", &value))
}

/// A whole number.
pub fn integer(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<i64>> {
    let Some(value) = metadata.get_item(key)? else {
        return Ok(None);
    };
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return Err(wrong_type(key, None, "an integer", &value));
    }
    // Beyond 64 bits it is no id of anything, and the range check says so.
    Ok(Some(value.extract().unwrap_or(i64::MIN)))
}

/// An array of whole numbers: a numpy array, or a list.
pub fn integers(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<Vec<i64>>> {
    array(metadata, key, "iu", "int64", "an array of integers")
}

/// An array of numbers: a numpy array, or a list.
pub fn numbers(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<Vec<f32>>> {
    let wide = array::<f64>(metadata, key, "iuf", "float64", "an array of numbers")?;
    Ok(wide.map(|numbers| numbers.iter().map(|&number| number as f32).collect()))
}

fn array<T: numpy::Element + Copy>(
    metadata: &Bound<'_, PyDict>,
    key: &'static str,
    kinds: &str,
    dtype: &str,
    expected: &'static str,
) -> PyResult<Option<Vec<T>>> {
    let Some(value) = metadata.get_item(key)? else {
        return Ok(None);
    };
    let refuse = |_| wrong_type(key, None, expected, &value);
    let array = metadata.py().import("numpy")?.call_method1("asarray", (&value,)).map_err(refuse)?;
    let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let n_items: usize = array.getattr("size")?.extract()?;
    if n_items > 0 && !kinds.contains(&kind) {
        return Err(wrong_type(key, None, expected, &value));
    }
    let converted = array.call_method1("astype", (dtype,)).map_err(refuse)?;
    let view = converted.extract::<PyReadonlyArray1<'_, T>>().map_err(|_| wrong_type(key, None, expected, &value))?;
    Ok(Some(view.as_array().to_vec()))
}

/// An array of byte strings: where it lies in a mapped file, or collected from a sequence.
pub enum StringsBuffer<'py> {
    /// The parts of an `axiom.gguf_file.StringArray`; nothing is copied.
    Mapped {
        /// The bytes of all strings.
        raw: PyReadonlyArray1<'py, u8>,
        /// Where each begins.
        starts: PyReadonlyArray1<'py, i64>,
        /// How long each is.
        lengths: PyReadonlyArray1<'py, i64>,
    },
    /// Copies of the items of a list.
    Collected {
        /// The bytes of all strings.
        raw: Vec<u8>,
        /// Where each begins.
        starts: Vec<i64>,
        /// How long each is.
        lengths: Vec<i64>,
    },
}

impl<'py> StringsBuffer<'py> {
    /// The array at `key`.
    pub fn read(metadata: &Bound<'py, PyDict>, key: &'static str) -> PyResult<Option<Self>> {
        let Some(value) = metadata.get_item(key)? else {
            return Ok(None);
        };
        let parts = (part(&value, "raw"), part(&value, "starts"), part(&value, "lengths"));
        if let (Some(raw), Some(starts), Some(lengths)) = parts {
            return Ok(Some(StringsBuffer::Mapped { raw, starts, lengths }));
        }
        let expected = "an array of strings";
        if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
            return Err(wrong_type(key, None, expected, &value));
        }
        let (mut all, mut starts, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
        for (index, item) in value.try_iter().map_err(|_| wrong_type(key, None, expected, &value))?.enumerate() {
            let item = item?;
            starts.push(all.len() as i64);
            if let Ok(bytes) = item.cast::<PyBytes>() {
                all.extend_from_slice(bytes.as_bytes());
            } else if let Some(text) = item.cast::<PyString>().ok().and_then(|text| text.to_str().ok()) {
                all.extend_from_slice(text.as_bytes());
            } else {
                return Err(wrong_type(key, Some(index), "a string", &item));
            }
            lengths.push(all.len() as i64 - starts[index]);
        }
        Ok(Some(StringsBuffer::Collected { raw: all, starts, lengths }))
    }

    /// The strings, checked to lie where they should.
    pub fn view(&self, key: &'static str) -> Result<Strings<'_>, Error> {
        match self {
            StringsBuffer::Mapped { raw, starts, lengths } => {
                let apart = || missing(key, "contiguous arrays");
                Strings::new(
                    key,
                    raw.as_slice().map_err(|_| apart())?,
                    starts.as_slice().map_err(|_| apart())?,
                    lengths.as_slice().map_err(|_| apart())?,
                )
            }
            StringsBuffer::Collected { raw, starts, lengths } => Strings::new(key, raw, starts, lengths),
        }
    }
}

/// An attribute that is an array with its items side by side.
fn part<'py, T: numpy::Element>(value: &Bound<'py, PyAny>, name: &str) -> Option<PyReadonlyArray1<'py, T>> {
    let array: PyReadonlyArray1<'py, T> = value.getattr(name).ok()?.extract().ok()?;
    array.is_contiguous().then_some(array)
}
