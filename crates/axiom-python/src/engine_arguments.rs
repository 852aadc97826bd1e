//! What Python hands to `Engine`, checked: configuration, tensors, batches of tokens, room for logits.

use crate::error::{system_to_py, to_py};
use axiom_core::config::{ModelConfig, RopePairing, RopeScaling};
use axiom_core::error::Error;
use axiom_core::format::Format;
use axiom_core::memory::KVFormat;
use axiom_core::model::{TensorBytes, TensorSource};
use axiom_core::runtime::Append;
use axiom_host::FileBytes;
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray1, PyUntypedArrayMethods};
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The type of the cache.
pub fn checked_kv(kv: &str) -> PyResult<KVFormat> {
    match kv {
        "f16" => Ok(KVFormat::F16),
        "f32" => Ok(KVFormat::F32),
        _ => Err(PyValueError::new_err(format!("kv: expected 'f16' or 'f32', got {kv:?}"))),
    }
}

/// Which new positions of each sequence get logits: always the last ones.
#[derive(Clone, Copy)]
enum LogitRows<'a, 'py> {
    All,
    Last,
    None,
    /// As many as the list says for each sequence.
    Counted(&'a Bound<'py, PyAny>),
}

/// The configuration of a model from `ModelConfig.as_dict()`.
pub fn checked_config(config: &Bound<'_, PyDict>) -> PyResult<ModelConfig> {
    let item = |name: &str| -> PyResult<Bound<'_, PyAny>> {
        config
            .get_item(name)?
            .ok_or_else(|| PyKeyError::new_err(format!("config: expected {name}, which is not there")))
    };
    let count = |name: &str| -> PyResult<usize> { item(name)?.extract() };
    let number = |name: &str| -> PyResult<f64> { item(name)?.extract() };
    let flag = |name: &str| -> PyResult<bool> { item(name)?.extract() };
    let unknown = |name: &str, valid: &str, got: &str| {
        Err(PyValueError::new_err(format!("config: {name}: expected one of {valid}, got {got:?}")))
    };
    Ok(ModelConfig {
        n_vocab: count("n_vocab")?,
        n_embd: count("n_embd")?,
        n_layer: count("n_layer")?,
        n_ff: count("n_ff")?,
        n_head: count("n_head")?,
        n_head_kv: count("n_head_kv")?,
        head_dim: count("head_dim")?,
        rope_dim: count("rope_dim")?,
        rope_base: number("rope_base")?,
        rope_pairing: match &*item("rope_pairing")?.extract::<String>()? {
            "norm" => RopePairing::Norm,
            "neox" => RopePairing::Neox,
            got => return unknown("rope_pairing", "'norm', 'neox'", got),
        },
        rope_scaling: match &*item("rope_scaling")?.extract::<String>()? {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear,
            "yarn" => RopeScaling::Yarn,
            got => return unknown("rope_scaling", "'none', 'linear', 'yarn'", got),
        },
        rope_factor: number("rope_factor")?,
        rope_original_ctx: count("rope_original_ctx")?,
        rope_attn_factor: number("rope_attn_factor")?,
        rope_beta_fast: number("rope_beta_fast")?,
        rope_beta_slow: number("rope_beta_slow")?,
        rope_ext_factor: number("rope_ext_factor")?,
        rms_eps: number("rms_eps")? as f32,
        tied_output: flag("tied_output")?,
        qk_norm: flag("qk_norm")?,
    })
}

/// A tensor of the caller, with a hold on its bytes.
pub struct TensorBuffer<'py> {
    name: String,
    format: Format,
    n_row: usize,
    n_col: usize,
    bytes: BufferBytes<'py>,
}

enum BufferBytes<'py> {
    Array(PyReadonlyArray1<'py, u8>),
    /// Of the file at this path.
    File(FileBytes, Arc<Path>),
}

impl TensorBuffer<'_> {
    /// The tensor as the core reads it.
    pub fn source(&self) -> PyResult<TensorSource<'_>> {
        let bytes = match &self.bytes {
            BufferBytes::Array(array) => TensorBytes::Memory(array.as_slice().map_err(|_| {
                PyTypeError::new_err(format!("{}: expected a contiguous uint8 array, got one with gaps", self.name))
            })?),
            BufferBytes::File(bytes, _) => TensorBytes::Stored(bytes),
        };
        Ok(TensorSource { name: &self.name, format: self.format, n_row: self.n_row, n_col: self.n_col, bytes })
    }

    /// The path of its file, if it is in one.
    fn path(&self) -> Option<&Path> {
        match &self.bytes {
            BufferBytes::Array(_) => None,
            BufferBytes::File(_, path) => Some(path),
        }
    }
}

/// The file that an error is about: that of the tensor that it names, else the first, which names the model.
pub fn file_of<'a>(tensors: &'a [TensorBuffer<'_>], error: &Error) -> Option<&'a Path> {
    let named = match error {
        Error::ReadTensor { name, .. } | Error::Shape { name, .. } => tensors.iter().find(|at| at.name == *name),
        _ => None,
    };
    named.or(tensors.first())?.path()
}

/// Tensors as they are read, and the files that they share.
#[derive(Default)]
pub struct TensorReader<'py> {
    files: Vec<SharedFile<'py>>,
}

/// A file of the caller.
struct SharedFile<'py> {
    /// The Python `OpenFile`, which closes the file when it is let go of.
    object: Bound<'py, PyAny>,
    /// The same file, open for us.
    file: Arc<File>,
    path: Arc<Path>,
}

impl<'py> TensorReader<'py> {
    /// A tensor: (name, format, rows, cols, bytes), the bytes a uint8 array or a `FileBytes` of Python.
    pub fn read(&mut self, tensor: &Bound<'py, PyAny>) -> PyResult<TensorBuffer<'py>> {
        let (name, format, n_row, n_col, bytes): (String, String, usize, usize, Bound<'py, PyAny>) =
            tensor.extract()?;
        let format = Format::from_name(&format).ok_or_else(|| {
            let known = Format::ALL.map(|format| format.name()).join(", ");
            PyValueError::new_err(format!("{name}: expected one of the formats {known}, got {format:?}"))
        })?;
        // An array is asked for last: asking imports NumPy.
        let bytes = match bytes.getattr_opt("file")? {
            Some(object) => {
                let (offset, n_bytes) = (bytes.getattr("offset")?.extract()?, bytes.getattr("n_bytes")?.extract()?);
                let SharedFile { file, path, .. } = self.file(object)?;
                BufferBytes::File(FileBytes { file: Arc::clone(file), offset, n_bytes }, Arc::clone(path))
            }
            None => BufferBytes::Array(
                bytes
                    .extract()
                    .map_err(|_| PyTypeError::new_err(format!("{name}: expected a one-dimensional uint8 array")))?,
            ),
        };
        Ok(TensorBuffer { name, format, n_row, n_col, bytes })
    }

    /// The file of a Python `OpenFile`, which stays the caller's.
    fn file(&mut self, object: Bound<'py, PyAny>) -> PyResult<&SharedFile<'py>> {
        let at = match self.files.iter().position(|known| known.object.is(&object)) {
            Some(at) => at,
            None => {
                let number: i32 = object.getattr("number")?.extract()?;
                if number < 0 {
                    return Err(PyValueError::new_err(format!("expected the number of an open file, got {number}")));
                }
                let path: Arc<Path> = object.getattr("path")?.extract::<PathBuf>()?.into();
                // SAFETY: it is not negative, and is borrowed for this call; one that is not open is an error of the system.
                let owned = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned();
                let file = Arc::new(File::from(owned.map_err(|error| system_to_py(&path, &error))?));
                self.files.push(SharedFile { object, file, path });
                self.files.len() - 1
            }
        };
        Ok(&self.files[at])
    }
}

/// The sequences and tokens of a pass; kept between passes for its memory.
#[derive(Default)]
pub struct Batch {
    tokens: Vec<u32>,
    parts: Vec<Part>,
}

/// One sequence of a batch.
struct Part {
    seq: usize,
    /// Where its tokens end.
    end: usize,
    n_logit: usize,
}

impl Batch {
    /// Sequences of a pass for which nothing is allocated.
    const FEW: usize = 16;

    /// Reads `tokens[i]` for `seqs[i]`, each a list of whole numbers or an array of them, and which rows get logits.
    ///
    /// # Errors
    ///
    /// `ValueError` or `TypeError` for what is no token of the vocabulary, no sequence, or no choice of rows.
    pub fn read(
        &mut self,
        seqs: &Bound<'_, PyAny>,
        tokens: &Bound<'_, PyAny>,
        logits: Option<&Bound<'_, PyAny>>,
        n_vocab: usize,
    ) -> PyResult<()> {
        self.tokens.clear();
        self.parts.clear();
        let rows = logits.map_or(Ok(LogitRows::Last), checked_logits)?;
        let (n_seq, n_list) = (seqs.len()?, tokens.len()?);
        if n_seq != n_list {
            return Err(PyValueError::new_err(format!(
                "expected as many lists of tokens as sequences, got {n_list} for {n_seq}"
            )));
        }
        if let LogitRows::Counted(counts) = rows
            && counts.len()? != n_seq
        {
            return Err(PyValueError::new_err(format!(
                "logits: expected a number for each of {n_seq} sequences, got {}",
                counts.len()?
            )));
        }
        for (i, (seq, list)) in seqs.try_iter()?.zip(tokens.try_iter()?).enumerate() {
            let seq = seq?;
            let number: usize = seq.extract().map_err(|_| {
                PyValueError::new_err(format!("sequence {seq} is not open; use the number that opening it returned"))
            })?;
            let begin = self.tokens.len();
            self.read_tokens(number, &list?, n_vocab)?;
            let end = self.tokens.len();
            let n_logit = match rows {
                LogitRows::All => end - begin,
                LogitRows::Last => (end - begin).min(1),
                LogitRows::None => 0,
                LogitRows::Counted(counts) => counted(number, &counts.get_item(i)?, end - begin)?,
            };
            self.parts.push(Part { seq: number, end, n_logit });
        }
        Ok(())
    }

    /// Rows of logits that the batch gets.
    pub fn n_logit(&self) -> usize {
        self.parts.iter().map(|part| part.n_logit).sum()
    }

    fn read_tokens(&mut self, seq: usize, list: &Bound<'_, PyAny>, n_vocab: usize) -> PyResult<()> {
        let outside = |token: &dyn std::fmt::Display| {
            PyValueError::new_err(format!("sequence {seq}: expected tokens in 0 ... {}, got {token}", n_vocab - 1))
        };
        let mut push = |token: i64| match u32::try_from(token) {
            Ok(small) if (small as usize) < n_vocab => {
                self.tokens.try_reserve(1).map_err(|_| {
                    let n_bytes = (self.tokens.len() + 1).saturating_mul(size_of::<u32>());
                    to_py(list.py(), &Error::OutOfMemory { what: "the tokens", n_bytes })
                })?;
                self.tokens.push(small);
                Ok(())
            }
            _ => Err(outside(&token)),
        };
        // An array of NumPy's own integer type, without making an object of each. (Asking imports NumPy.)
        if !list.is_instance_of::<PyList>()
            && let Ok(array) = list.extract::<PyReadonlyArray1<'_, i64>>()
        {
            return array.as_array().iter().try_for_each(|token| push(*token));
        }
        let no_list = || PyTypeError::new_err(format!("sequence {seq}: expected a list of whole numbers, got {list}"));
        for token in list.try_iter().map_err(|_| no_list())? {
            let token = token?;
            match token.extract::<i64>() {
                Ok(token) => push(token)?,
                Err(_) if token.hasattr("__index__")? => return Err(outside(&token)),
                Err(_) => return Err(no_list()),
            }
        }
        Ok(())
    }

    /// Calls `action` with the batch as the core takes it.
    pub fn with<T>(&self, action: impl FnOnce(&[Append<'_>]) -> T) -> T {
        let mut begin = 0;
        let appends = self.parts.iter().map(|part| {
            let tokens = &self.tokens[begin..part.end];
            begin = part.end;
            Append { seq: part.seq, tokens, n_logit: part.n_logit }
        });
        if self.parts.len() > Self::FEW {
            return action(&appends.collect::<Vec<_>>());
        }
        let mut few = [Append { seq: 0, tokens: &[], n_logit: 0 }; Self::FEW];
        for (slot, append) in few.iter_mut().zip(appends) {
            *slot = append;
        }
        action(&few[..self.parts.len()])
    }
}

fn checked_logits<'a, 'py>(logits: &'a Bound<'py, PyAny>) -> PyResult<LogitRows<'a, 'py>> {
    let unknown = || {
        PyValueError::new_err(format!(
            "logits: expected one of 'last', 'all', 'none', or a number for each sequence, got {}",
            logits.repr().map_or_else(|_| "something else".into(), |text| text.to_string())
        ))
    };
    match logits.extract::<String>() {
        Ok(name) => match &*name {
            "last" => Ok(LogitRows::Last),
            "all" => Ok(LogitRows::All),
            "none" => Ok(LogitRows::None),
            _ => Err(unknown()),
        },
        Err(_) if logits.len().is_ok() => Ok(LogitRows::Counted(logits)),
        Err(_) => Err(unknown()),
    }
}

/// One sequence's own number of logit rows.
fn counted(seq: usize, number: &Bound<'_, PyAny>, n_token: usize) -> PyResult<usize> {
    match number.extract::<usize>() {
        Ok(n) if n <= n_token => Ok(n),
        _ => Err(PyValueError::new_err(format!(
            "sequence {seq}: expected a number of logit rows in 0 ... {n_token}, its new tokens, got {number}"
        ))),
    }
}

/// Room for logits: the array itself, of the right shape, that can be written.
pub fn checked_out<'py>(out: &Bound<'py, PyAny>, shape: [usize; 2]) -> PyResult<Bound<'py, PyArray2<f32>>> {
    let fits = |array: &Bound<'py, PyArray2<f32>>| {
        array.shape() == shape && array.is_c_contiguous() && array.try_readwrite().is_ok()
    };
    match out.cast::<PyArray2<f32>>() {
        Ok(array) if fits(array) => Ok(array.clone()),
        _ => {
            let describe =
                |name: &str| out.getattr(name).map_or_else(|_| "nothing of the kind".into(), |v| v.to_string());
            Err(PyValueError::new_err(format!(
                "out: expected a writeable, contiguous float32 array of shape {shape:?}, got {} {}",
                describe("dtype"),
                describe("shape")
            )))
        }
    }
}
