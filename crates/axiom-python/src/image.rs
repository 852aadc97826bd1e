//! Images: packing a matrix, the digest of bytes, and what an engine is opened from.

use crate::arguments::{Bytes, Integer};
use crate::engine_arguments::{TensorReader, file_of};
use crate::error::to_py_about;
use crate::host::checked_threads;
use crate::leaving::Inside;
use crate::signals::Interrupt;
use axiom_core::error::Error;
use axiom_core::image::{HEADER, Image, ROOT, head_bytes};
use axiom_core::model::{MemoryPlan, WeightImage, pack_matrix as pack};
use axiom_core::runtime::{Engine, Options};
use axiom_core::stream::BYTES_REQUEST;
use axiom_host::Host;
use axiom_host::disk::Disk;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Return the BLAKE3 digest of some bytes, 32 bytes.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub fn blake3<'py>(py: Python<'py>, data: Bytes<'py>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = data.as_slice()?;
    let inside = Inside::enter(py);
    let digest = inside.released(py, || axiom_core::digest::digest(bytes));
    Ok(PyBytes::new(py, &digest))
}

/// Pack a matrix, given as engines take tensors, into the panels that `out` is room for, on all threads. Ctrl-C ends it.
#[pyfunction]
#[pyo3(signature = (tensor, out, threads=None))]
pub fn pack_matrix<'py>(
    py: Python<'py>,
    tensor: &Bound<'py, PyAny>,
    out: &Bound<'py, PyArray1<u8>>,
    threads: Option<Integer>,
) -> PyResult<()> {
    let inside = Inside::enter(py);
    let n_thread = checked_threads(threads.as_ref())?;
    let buffer = TensorReader::default().read(tensor)?;
    let source = buffer.source()?;
    let wrong = |error: &Error| to_py_about(py, file_of(std::slice::from_ref(&buffer), error), error);
    source.check_len().map_err(|error| wrong(&error))?;
    let mut writable = out.try_readwrite()?;
    let room = writable.as_slice_mut()?;
    if Some(room.len()) != source.format.bytes_matrix(source.n_row, source.n_col) {
        return Err(PyValueError::new_err(format!("out: {} bytes are no room for the panels", room.len())));
    }
    let interrupt = Interrupt::new(py)?;
    let mut raised: Option<PyErr> = None;
    let mut progress = |_, _| {
        raised = interrupt.check().err();
        raised.is_none()
    };
    let packed = inside.released(py, || Host::start(n_thread).map(|host| pack(&source, room, &host, &mut progress)));
    let packed = packed
        .map_err(|error| PyOSError::new_err(format!("cannot start {n_thread} threads: {error}; use fewer threads")))?;
    packed.map_err(|error| raised.unwrap_or_else(|| wrong(&error)))
}

/// An image opened to load from.
pub struct OpenImage {
    head: Vec<u8>,
    bytes_file: u64,
}

impl OpenImage {
    /// Reads the head of the image at `path`.
    pub fn read(path: &Path) -> Result<OpenImage, OpenError> {
        let mut file = File::open(path)?;
        let bytes_file = file.metadata()?.len();
        let mut head = Vec::with_capacity(HEADER);
        file.by_ref().take(HEADER as u64).read_to_end(&mut head)?;
        let n_head = head_bytes(&head, bytes_file)?;
        file.take((n_head - HEADER) as u64).read_to_end(&mut head)?;
        Ok(OpenImage { head, bytes_file })
    }

    /// The digest that names the image, once the head has been checked.
    pub fn root(&self) -> &[u8] {
        &self.head[ROOT..HEADER]
    }

    /// The head, checked.
    pub fn parse(&self) -> Result<Image<'_>, Error> {
        Image::parse(&self.head, self.bytes_file)
    }
}

/// What is pinned of an image in a region of `budget` bytes; all of it without one.
pub fn plan(image: &Image<'_>, options: &Options, n_worker: usize, budget: Option<usize>) -> Result<MemoryPlan, Error> {
    match budget {
        None => Ok(MemoryPlan::resident(&image.layout)),
        Some(budget) => {
            let besides = Engine::bytes_besides_weights(&image.config, options, n_worker)?;
            MemoryPlan::fit(&image.layout, budget.saturating_sub(besides))
        }
    }
}

/// The weights of an image, read through a disk of their own.
pub fn weights(image: &Image<'_>, path: &Path, is_paranoid: bool) -> std::io::Result<(WeightImage, bool)> {
    let disk = Disk::open(path)?;
    let is_direct = disk.is_direct();
    let weights = WeightImage {
        device: Box::new(disk),
        extents: image.extents.clone(),
        is_paranoid,
        bytes_request: BYTES_REQUEST,
    };
    Ok((weights, is_direct))
}

/// Why an image was not opened.
pub enum OpenError {
    /// The system said so.
    Io(std::io::Error),
    /// The image did.
    Core(Error),
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> OpenError {
        OpenError::Io(error)
    }
}

impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        OpenError::Core(error)
    }
}
