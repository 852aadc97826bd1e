//! Values of a metadata dictionary, as the core wants them, each checked for its type.

use crate::error::to_py;
use axiom_core::error::Error;
use axiom_core::text::Strings;
use axiom_core::text::source::end_of_string;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyMemoryView, PyString};

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
    value.extract().map(Some).map_err(|_| {
        let expected = "an id below 2^63, or -1 for none".into();
        to_py(value.py(), &Error::Metadata { key, index: None, expected, got: value.to_string() })
    })
}

/// An array of whole numbers: anything with a buffer of them, such as a `memoryview` or an array of numpy, or a list.
pub fn integers(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<Vec<i64>>> {
    array(metadata, key, "an array of integers", |item| match item {
        Item::Whole(number) => Some(number),
        Item::Real(_) => None,
    })
}

/// An array of numbers, in the same forms.
pub fn numbers(metadata: &Bound<'_, PyDict>, key: &'static str) -> PyResult<Option<Vec<f32>>> {
    array(metadata, key, "an array of numbers", |item| match item {
        Item::Whole(number) => Some(number as f64 as f32),
        Item::Real(number) => Some(number as f32),
    })
}

/// A number of an array.
enum Item {
    Whole(i64),
    Real(f64),
}

fn array<T>(
    metadata: &Bound<'_, PyDict>,
    key: &'static str,
    expected: &'static str,
    accept: impl Fn(Item) -> Option<T>,
) -> PyResult<Option<Vec<T>>> {
    let Some(value) = metadata.get_item(key)? else {
        return Ok(None);
    };
    if value.is_instance_of::<PyBytes>() {
        // A string that is not UTF-8: its bytes are no numbers, though Python takes them for such.
        return Err(wrong_type(key, None, expected, &value));
    }
    let items = match PyMemoryView::from(&value) {
        Ok(view) => items_of_buffer(&view, accept)?,
        Err(_) => items_of_list(&value, accept),
    };
    items.map(Some).ok_or_else(|| wrong_type(key, None, expected, &value))
}

fn items_of_list<T>(list: &Bound<'_, PyAny>, accept: impl Fn(Item) -> Option<T>) -> Option<Vec<T>> {
    let item = |object: Bound<'_, PyAny>| match object.extract::<i64>() {
        _ if object.is_instance_of::<PyBool>() => None,
        Ok(number) => accept(Item::Whole(number)),
        Err(_) => object.extract::<f64>().ok().and_then(|number| accept(Item::Real(number))),
    };
    list.try_iter().ok()?.map(|object| object.ok().and_then(item)).collect()
}

/// The items of a buffer of one dimension. (The stable ABI of Python 3.10 has no door to the buffer itself.)
fn items_of_buffer<T>(view: &Bound<'_, PyMemoryView>, accept: impl Fn(Item) -> Option<T>) -> PyResult<Option<Vec<T>>> {
    let (n_dim, n_byte): (usize, usize) = (view.getattr("ndim")?.extract()?, view.getattr("itemsize")?.extract()?);
    let format: String = view.getattr("format")?.extract()?;
    let bytes: Bound<'_, PyBytes> = view.call_method0("tobytes")?.extract()?;
    let Some(item) = reader(format.trim_start_matches(['@', '=', '<']), n_byte).filter(|_| n_dim == 1) else {
        // Of nothing every type is right.
        return Ok((n_dim == 1 && bytes.as_bytes().is_empty()).then(Vec::new));
    };
    Ok(bytes.as_bytes().chunks_exact(n_byte).map(|bytes| accept(item(bytes))).collect())
}

/// How an item of `n_byte` bytes is read, if `format`, a letter of Python's `struct`, is a number.
fn reader(format: &str, n_byte: usize) -> Option<fn(&[u8]) -> Item> {
    /// `N` bytes, of which there are as many.
    fn n<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("an item has its size")
    }
    Some(match (format, n_byte) {
        ("b", 1) => |bytes| Item::Whole(i8::from_ne_bytes(n(bytes)).into()),
        ("B", 1) => |bytes| Item::Whole(u8::from_ne_bytes(n(bytes)).into()),
        ("h", 2) => |bytes| Item::Whole(i16::from_ne_bytes(n(bytes)).into()),
        ("H", 2) => |bytes| Item::Whole(u16::from_ne_bytes(n(bytes)).into()),
        ("i" | "l", 4) => |bytes| Item::Whole(i32::from_ne_bytes(n(bytes)).into()),
        ("I" | "L", 4) => |bytes| Item::Whole(u32::from_ne_bytes(n(bytes)).into()),
        ("l" | "q", 8) => |bytes| Item::Whole(i64::from_ne_bytes(n(bytes))),
        // Beyond 63 bits it is no kind of a token, and the range check says so.
        ("L" | "Q", 8) => |bytes| Item::Whole(u64::from_ne_bytes(n(bytes)) as i64),
        ("f", 4) => |bytes| Item::Real(f32::from_ne_bytes(n(bytes)).into()),
        ("d", 8) => |bytes| Item::Real(f64::from_ne_bytes(n(bytes))),
        _ => return None,
    })
}

/// An array of byte strings, as a model file holds it: that of a `StringArray` of Python, or one made of a list.
pub struct StringsBuffer<'py> {
    raw: Raw<'py>,
    n: usize,
}

/// The bytes of the array.
enum Raw<'py> {
    OfFile(Bound<'py, PyBytes>),
    Collected(Vec<u8>),
}

impl<'py> StringsBuffer<'py> {
    /// The array at `key`.
    pub fn read(metadata: &Bound<'py, PyDict>, key: &'static str) -> PyResult<Option<Self>> {
        let Some(value) = metadata.get_item(key)? else {
            return Ok(None);
        };
        if let Ok(raw) = value.getattr("raw") {
            return Ok(Some(StringsBuffer { raw: Raw::OfFile(raw.extract()?), n: value.len()? }));
        }
        let expected = "an array of strings";
        if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
            return Err(wrong_type(key, None, expected, &value));
        }
        let (mut all, mut n) = (Vec::new(), 0);
        for item in value.try_iter().map_err(|_| wrong_type(key, None, expected, &value))? {
            let item = item?;
            let bytes = match item.cast::<PyBytes>() {
                Ok(bytes) => Some(bytes.as_bytes()),
                Err(_) => item.cast::<PyString>().ok().and_then(|text| text.to_str().ok()).map(str::as_bytes),
            };
            let bytes = bytes.ok_or_else(|| wrong_type(key, Some(n), "a string", &item))?;
            all.extend((bytes.len() as u64).to_le_bytes());
            all.extend(bytes);
            n += 1;
        }
        Ok(Some(StringsBuffer { raw: Raw::Collected(all), n }))
    }

    /// The strings, checked to lie where they should.
    pub fn view(&self, key: &'static str) -> Result<Strings<'_>, Error> {
        let raw = match &self.raw {
            Raw::OfFile(raw) => raw.as_bytes(),
            Raw::Collected(raw) => raw,
        };
        Strings::read(key, raw, self.n)
    }
}

/// Pass over the strings of an array, of which the first begins at `start` and `n` are left: each a u64 length and that many
/// bytes. Returns how many were passed and where the next begins.
///
/// It stops at a string whose length is not in `data`, or that leads out of a file of `n_bytes`.
#[pyfunction]
pub fn skip_strings(data: &[u8], start: usize, n: u64, n_bytes: u64) -> (u64, usize) {
    let mut at = start;
    for n_passed in 0..n {
        match end_of_string(data, at).filter(|end| *end <= n_bytes).and_then(|end| end.try_into().ok()) {
            Some(end) => at = end,
            None => return (n_passed, at),
        }
    }
    (n, at)
}
