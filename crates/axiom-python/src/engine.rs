//! `axiom._native.Engine`: the engine of the core behind the protocol `axiom.engine.Engine`.

use crate::arguments::Integer;
use crate::engine_arguments::{TensorReader, checked_config, checked_kv, checked_out, file_of};
use crate::error::{replaced, to_py, to_py_about};
use crate::host::{checked_threads, choose_kernels};
use crate::image::{self, OpenImage};
use crate::leaving::Inside;
use crate::loading::{Loading, Open, cannot_open};
use crate::logits::Logits;
use crate::signals::Interrupt;
use crate::stop_flag::StopFlag;
use axiom_core::error::Error;
use axiom_core::memory::{KVFormat, ROWS_PER_WAVE, Saving};
use axiom_core::model::TensorSource;
use axiom_core::runtime::{self, Options, WeightSource};
use axiom_core::telemetry::LayerRecord;
use axiom_host::region;
use numpy::{PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, TryLockError};

/// About how much of a sequence's state is copied at a time.
const BYTES_PART: usize = 1 << 20;

/// A model loaded into the Rust engine: sequences of positions, and the forward pass that appends to them.
///
/// One call at a time: a second thread that calls it meanwhile gets a `RuntimeError`.
#[pyclass(frozen, module = "axiom._native")]
pub struct Engine {
    open: Mutex<Option<Open>>,
    /// Most positions of one sequence.
    #[pyo3(get)]
    n_ctx: usize,
    /// Length of a row of logits.
    #[pyo3(get)]
    n_vocab: usize,
    /// Most sequences at a time.
    #[pyo3(get)]
    n_seq_max: usize,
    kv: KVFormat,
    is_streamed: bool,
    /// The image that it was opened from.
    image: Option<PathBuf>,
    /// Whether the disk is read past the page cache, where there is one.
    is_direct: Option<bool>,
}

impl Engine {
    fn of(open: Open, options: Options, image: Option<PathBuf>, is_direct: Option<bool>) -> Engine {
        let Options { n_ctx, n_seq_max, kv, .. } = options;
        let (n_vocab, store) = (open.engine.config().n_vocab, open.engine.store());
        let is_streamed = store.plan().bytes_streamed(store.weights().layout()) > 0;
        Engine { open: Mutex::new(Some(open)), n_ctx, n_vocab, n_seq_max, kv, is_streamed, image, is_direct }
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, Option<Open>>> {
        // Waiting would hold up the interpreter, which the other call may need to end.
        self.open.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => in_a_call(),
            TryLockError::Poisoned(_) => {
                PyRuntimeError::new_err("the engine has failed inside a call; open the model again")
            }
        })
    }

    /// Calls `action` on the open engine, with the interpreter free for others.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        action: impl FnOnce(&mut runtime::Engine) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let inside = Inside::enter(py);
        let mut guard = self.lock()?;
        let engine = &mut open(&mut guard)?.engine;
        inside.released(py, || action(engine)).map_err(|error| self.error(py, &error))
    }

    /// Computes a batch into the room that `room` gives, with the interpreter free for others.
    fn pass<'a>(
        &self,
        py: Python<'_>,
        inside: &Inside,
        Open { engine, batch, timer, .. }: &mut Open,
        stop: Option<&StopFlag>,
        room: impl FnOnce() -> &'a mut [f32] + Send,
    ) -> PyResult<()> {
        let interrupt = Interrupt::new(py)?;
        let flag = stop.map(StopFlag::stop);
        let (result, interrupted) = inside.released(py, || {
            let values = room();
            timer.ticking(|| {
                interrupt.watch(flag.as_ref(), |stop| batch.with(|batch| engine.forward(batch, values, stop)))
            })
        });
        match (result, interrupted) {
            (Ok(()), _) => Ok(()),
            (Err(Error::Cancelled), Some(interrupted)) => Err(interrupted),
            (Err(error), _) => Err(self.error(py, &error)),
        }
    }

    fn error(&self, py: Python<'_>, error: &Error) -> PyErr {
        to_py_about(py, self.image.as_deref(), error)
    }
}

/// The state of a sequence, part by part: each is taken from the engine when it is asked for.
#[pyclass(module = "axiom._native")]
struct SavedParts {
    engine: Py<Engine>,
    saving: Saving,
}

#[pymethods]
impl SavedParts {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let SavedParts { engine, saving } = self;
        let part = engine.get().with(py, |engine| engine.sequences().save_part(saving, BYTES_PART))?;
        Ok(part.map(|part| PyBytes::new(py, &part)))
    }
}

fn open<'a>(guard: &'a mut MutexGuard<'_, Option<Open>>) -> PyResult<&'a mut Open> {
    guard.as_mut().ok_or_else(|| PyValueError::new_err("this engine is closed; open the model again"))
}

/// The number of a sequence; what can be none becomes one that is never open.
fn sequence(seq: &Integer) -> PyResult<usize> {
    Ok(seq.within("sequence", "a number that opening one returned", 0, i128::from(u32::MAX))? as usize)
}

#[pymethods]
impl Engine {
    /// Load a model: `config` is `ModelConfig.as_dict()`, `tensors` a list of (name, format, rows, cols, bytes).
    ///
    /// The bytes are a uint8 array, or a `FileBytes` of Python, and are not kept. `progress(n_done, n_total)` counts bytes of
    /// weights; Ctrl-C ends the load.
    #[new]
    #[pyo3(signature = (config, tensors, *, n_ctx, n_seq_max, threads=None, kernels=None, kv="f16", progress=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        config: &Bound<'_, PyDict>,
        tensors: &Bound<'_, PyAny>,
        n_ctx: i64,
        n_seq_max: i64,
        threads: Option<Integer>,
        kernels: Option<&str>,
        kv: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let inside = Inside::enter(py);
        let (n_ctx, n_seq_max) = checked_counts(n_ctx, n_seq_max)?;
        let kv = checked_kv(kv)?;
        let kernels = choose_kernels(py, kernels)?;
        let n_thread = checked_threads(threads.as_ref())?;
        let config = checked_config(config)?;
        let mut reader = TensorReader::default();
        let buffers = tensors.try_iter()?.map(|tensor| reader.read(&tensor?)).collect::<PyResult<Vec<_>>>()?;
        let sources: Vec<TensorSource<'_>> = buffers.iter().map(|buffer| buffer.source()).collect::<PyResult<_>>()?;
        let options = Options { n_ctx, n_seq_max, rows_per_pass: ROWS_PER_WAVE, kv };
        let loading = Loading { options, kernels, n_thread, progress };
        let source = WeightSource::Tensors(&sources);
        let open = loading.open(py, &inside, config, source, |error| file_of(&buffers, error))?;
        Ok(Engine::of(open, options, None, None))
    }

    /// Load a model from the image at `path`: all of it, or what has room in `budget` bytes, and the rest as layers need it.
    ///
    /// `rows_per_pass` is how many tokens one reading of the weights is for. `paranoid` checks the digest of every layer
    /// each time that it is read, not the first time alone. `root` is the digest of the head that the caller has read.
    #[staticmethod]
    #[pyo3(signature = (
        path, *, n_ctx, n_seq_max, threads=None, kernels=None, kv="f16", budget=None, rows_per_pass=256, paranoid=false,
        root=None, progress=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn from_image(
        py: Python<'_>,
        path: PathBuf,
        n_ctx: i64,
        n_seq_max: i64,
        threads: Option<Integer>,
        kernels: Option<&str>,
        kv: &str,
        budget: Option<usize>,
        rows_per_pass: usize,
        paranoid: bool,
        root: Option<&[u8]>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let inside = Inside::enter(py);
        let (n_ctx, n_seq_max) = checked_counts(n_ctx, n_seq_max)?;
        let options = Options { n_ctx, n_seq_max, rows_per_pass, kv: checked_kv(kv)? };
        let (kernels, n_thread) = (choose_kernels(py, kernels)?, checked_threads(threads.as_ref())?);
        let head = inside.released(py, || OpenImage::read(&path)).map_err(|error| cannot_open(py, &path, error))?;
        let image = head.parse().map_err(|error| cannot_open(py, &path, error.into()))?;
        if root.is_some_and(|root| root != head.root()) {
            return Err(replaced(py, &path));
        }
        let plan = image::plan(&image, &options, n_thread, budget).map_err(|error| to_py(py, &error))?;
        let (weights, is_direct) = inside
            .released(py, || image::weights(&image, &path, paranoid))
            .map_err(|error| cannot_open(py, &path, error.into()))?;
        let loading = Loading { options, kernels, n_thread, progress };
        let source = WeightSource::Image { layout: &image.layout, plan, image: weights };
        let open = loading.open(py, &inside, image.config.clone(), source, |_| Some(&path))?;
        Ok(Engine::of(open, options, Some(path), Some(is_direct)))
    }

    /// Bytes of an engine that do not hold weights: cache and activations. From the configuration alone.
    #[staticmethod]
    #[pyo3(signature = (config, *, n_ctx, n_seq_max, kv="f16", rows_per_pass=256, threads=None))]
    fn bytes_besides_weights(
        py: Python<'_>,
        config: &Bound<'_, PyDict>,
        n_ctx: i64,
        n_seq_max: i64,
        kv: &str,
        rows_per_pass: usize,
        threads: Option<Integer>,
    ) -> PyResult<usize> {
        let (n_ctx, n_seq_max) = checked_counts(n_ctx, n_seq_max)?;
        let options = Options { n_ctx, n_seq_max, rows_per_pass, kv: checked_kv(kv)? };
        let (config, n_thread) = (checked_config(config)?, checked_threads(threads.as_ref())?);
        runtime::Engine::bytes_besides_weights(&config, &options, n_thread).map_err(|error| to_py(py, &error))
    }

    /// Open an empty sequence. Raises `MemoryBudgetError` when all `n_seq_max` are taken.
    fn seq_new(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |engine| engine.sequences().open())
    }

    /// Close a sequence and free its positions.
    #[pyo3(signature = (seq, /))]
    fn seq_free(&self, py: Python<'_>, seq: Integer) -> PyResult<()> {
        let seq = sequence(&seq)?;
        self.with(py, |engine| engine.sequences().close(seq))
    }

    /// Open a new sequence with the same positions as `seq`; later appends to either leave the other alone.
    #[pyo3(signature = (seq, /))]
    fn seq_fork(&self, py: Python<'_>, seq: Integer) -> PyResult<usize> {
        let seq = sequence(&seq)?;
        self.with(py, |engine| engine.sequences().fork(seq))
    }

    /// Count the positions of a sequence.
    #[pyo3(signature = (seq, /))]
    fn seq_len(&self, py: Python<'_>, seq: Integer) -> PyResult<usize> {
        let seq = sequence(&seq)?;
        self.with(py, |engine| engine.sequences().len(seq))
    }

    /// Keep the first `n_pos` positions.
    #[pyo3(signature = (seq, n_pos, /))]
    fn seq_rewind(&self, py: Python<'_>, seq: Integer, n_pos: Integer) -> PyResult<()> {
        let seq = sequence(&seq)?;
        let n_pos = n_pos.within("n_pos", "a number of positions", 0, i128::from(u32::MAX))? as usize;
        self.with(py, |engine| engine.sequences().rewind(seq, n_pos))
    }

    /// Return the state of a sequence, the same bytes from every body.
    #[pyo3(signature = (seq, /))]
    fn seq_save<'py>(&self, py: Python<'py>, seq: Integer) -> PyResult<Bound<'py, PyBytes>> {
        let seq = sequence(&seq)?;
        let state = self.with(py, |engine| engine.sequences().save(seq))?;
        let copied = PyBytes::new_with(py, state.len(), |bytes| {
            bytes.copy_from_slice(&state);
            Ok(())
        });
        copied.map_err(|_| self.error(py, &Error::OutOfMemory { what: "a saved sequence", n_bytes: state.len() }))
    }

    /// Return the bytes of the state that `seq_save` returns, and an iterator over its parts.
    #[pyo3(signature = (seq, /))]
    fn seq_save_parts(slf: &Bound<'_, Self>, seq: Integer) -> PyResult<(usize, SavedParts)> {
        let (py, seq) = (slf.py(), sequence(&seq)?);
        let (n_bytes, saving) = slf.get().with(py, |engine| {
            let cache = engine.sequences();
            Ok((cache.bytes_saved(seq)?, cache.begin_save(seq)?))
        })?;
        Ok((n_bytes, SavedParts { engine: slf.clone().unbind(), saving }))
    }

    /// Open a new sequence from what `seq_save` returned; `ValueError` if that is damaged or of another model.
    #[pyo3(signature = (state, /))]
    fn seq_load(&self, py: Python<'_>, state: &Bound<'_, PyBytes>) -> PyResult<usize> {
        let state = state.as_bytes();
        self.with(py, |engine| engine.sequences().load(state))
    }

    /// Append `tokens[i]` to sequence `seqs[i]` for every i, in one pass; return `Logits`, float32 `[n_rows, n_vocab]`.
    ///
    /// Rows are the last position of each sequence ("last"), every new position ("all"), none ("none"), or the last
    /// `logits[i]` new positions of `seqs[i]`, in the order of `seqs`. If the array `out` is given, they are written to it, and
    /// it is returned. Ctrl-C ends the pass at a layer boundary, and so does `stop`, with `PassStopped`; every sequence then has
    /// the positions that it had.
    #[pyo3(
        signature = (seqs, tokens, logits=None, out=None, stop=None),
        text_signature = "(self, seqs, tokens, logits='last', out=None, stop=None)"
    )]
    fn forward<'py>(
        &self,
        py: Python<'py>,
        seqs: &Bound<'py, PyAny>,
        tokens: &Bound<'py, PyAny>,
        logits: Option<&Bound<'py, PyAny>>,
        out: Option<&Bound<'py, PyAny>>,
        stop: Option<&StopFlag>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let inside = Inside::enter(py);
        let mut guard = self.lock()?;
        let open = open(&mut guard)?;
        open.batch.read(seqs, tokens, logits, self.n_vocab)?;
        if let Some(out) = out {
            let array = checked_out(out, [open.batch.n_logit(), self.n_vocab])?;
            let mut writable = array.try_readwrite()?;
            let values = writable.as_slice_mut()?;
            self.pass(py, &inside, open, stop, || values)?;
            drop(writable);
            return Ok(array.into_any());
        }
        let n_value =
            open.batch.with(|batch| open.engine.n_logit_value(batch)).map_err(|error| self.error(py, &error))?;
        let mut values = Vec::new();
        values.try_reserve_exact(n_value).map_err(|_| {
            self.error(py, &Error::OutOfMemory { what: "logits", n_bytes: n_value.saturating_mul(size_of::<f32>()) })
        })?;
        let room = &mut values;
        self.pass(py, &inside, open, stop, move || {
            room.resize(n_value, 0.0);
            room
        })?;
        Ok(Bound::new(py, Logits::new(values, self.n_vocab))?.into_any())
    }

    /// Whether some of the weights are read from the disk for every pass, for want of memory.
    #[getter]
    fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Return times, in microseconds, and counts of the passes so far.
    fn telemetry<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut guard = self.lock()?;
        let telemetry = open(&mut guard)?.engine.telemetry();
        let layers = PyList::empty(py);
        for layer in &telemetry.layers {
            let times = PyDict::new(py);
            times.set_item("stream_us", layer.stream_us)?;
            times.set_item("rms_us", layer.rms_us)?;
            times.set_item("attn_us", layer.attn_us)?;
            times.set_item("ffn_proj_us", layer.ffn_proj_us)?;
            times.set_item("ffn_act_us", layer.ffn_act_us)?;
            times.set_item("ffn_down_us", layer.ffn_down_us)?;
            times.set_item("layer_us", layer.layer_us())?;
            layers.append(times)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("n_pass", telemetry.n_pass)?;
        dict.set_item("n_token", telemetry.n_token)?;
        dict.set_item("pass_us", telemetry.pass_us)?;
        dict.set_item("output_us", telemetry.output_us)?;
        dict.set_item("layers", layers)?;
        let engine = &open(&mut guard)?.engine;
        let (counts, lock) = (engine.store().counts(), engine.lock());
        dict.set_item("bytes_read", counts.bytes_read)?;
        dict.set_item("n_request", counts.n_request)?;
        dict.set_item("n_retry", counts.n_retry)?;
        dict.set_item("n_stall", counts.n_stall)?;
        dict.set_item("n_deferred", lock.n_deferred())?;
        dict.set_item("longest_deferral_us", lock.longest_deferral_us())?;
        Ok(dict)
    }

    /// Return the records of the layers since the last call, uint64 `[n, 16]` with the columns of
    /// `axiom.telemetry.FIELDS`, and how many before them were lost because nobody took them.
    fn take_records<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyArray2<u64>>, usize)> {
        let _inside = Inside::enter(py);
        let mut guard = self.lock()?;
        let (records, n_lost) = open(&mut guard)?.engine.telemetry_mut().records.take();
        let array = PyArray2::zeros(py, [records.len(), LayerRecord::N_VALUE], false);
        let mut writable = array.try_readwrite()?;
        for (row, record) in writable.as_slice_mut()?.chunks_exact_mut(LayerRecord::N_VALUE).zip(records) {
            row.copy_from_slice(&record.values());
        }
        drop(writable);
        Ok((array, n_lost))
    }

    /// Return what was chosen at start, and the bytes that are held.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let inside = Inside::enter(py);
        let mut guard = self.lock()?;
        let Open { engine, region, .. } = open(&mut guard)?;
        let residency = inside.released(py, || region.residency());
        let bytes = engine.bytes();
        let dict = PyDict::new(py);
        dict.set_item("backend", "native")?;
        dict.set_item("kernels", engine.kernels().name)?;
        dict.set_item("threads", engine.platform().n_worker())?;
        dict.set_item("kv", self.kv.name())?;
        dict.set_item("n_ctx", self.n_ctx)?;
        dict.set_item("n_seq_max", self.n_seq_max)?;
        dict.set_item("bytes_weights", bytes.weights)?;
        dict.set_item("bytes_kv", engine.sequences().bytes_held())?;
        dict.set_item("bytes_kv_reserved", bytes.kv)?;
        let store = engine.store();
        dict.set_item("bytes_streamed", store.plan().bytes_streamed(store.weights().layout()))?;
        dict.set_item(
            "n_layer_pinned",
            (0..engine.config().n_layer).filter(|&layer| !store.is_streamed(layer)).count(),
        )?;
        dict.set_item("direct_io", self.is_direct)?;
        dict.set_item("bytes_activations", bytes.activations)?;
        dict.set_item("bytes_resident", residency.map(|r| r.bytes_resident))?;
        dict.set_item("bytes_huge_pages", residency.map(|r| r.bytes_huge))?;
        dict.set_item("huge_pages", region::huge_page_policy())?;
        Ok(dict)
    }

    /// Free everything. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let inside = Inside::enter(py);
        let open = match self.open.try_lock() {
            Ok(mut open) => open.take(),
            Err(TryLockError::WouldBlock) => return Err(in_a_call()),
            // What its threads were doing when it failed is over.
            Err(TryLockError::Poisoned(failed)) => failed.into_inner().take(),
        };
        inside.released(py, || drop(open));
        Ok(())
    }
}

fn in_a_call() -> PyErr {
    PyRuntimeError::new_err("the engine is in a call of another thread; use one at a time")
}

fn checked_counts(n_ctx: i64, n_seq_max: i64) -> PyResult<(usize, usize)> {
    match (usize::try_from(n_ctx), usize::try_from(n_seq_max)) {
        (Ok(n_ctx @ 1..), Ok(n_seq_max @ 1..)) => Ok((n_ctx, n_seq_max)),
        _ => Err(PyValueError::new_err(format!(
            "expected n_ctx and n_seq_max of 1 or more, got n_ctx={n_ctx}, n_seq_max={n_seq_max}"
        ))),
    }
}
