//! `axiom._native.Engine`: the engine of the core behind the protocol `axiom.engine.Engine`.

use crate::arguments::Integer;
use crate::engine_arguments::{Batch, checked_config, checked_kv, checked_out, tensor_buffers};
use crate::error::{out_of_memory, to_py};
use crate::host::{checked_threads, choose_kernels};
use crate::signals::Interrupt;
use crate::stop_flag::StopFlag;
use axiom_core::error::Error;
use axiom_core::memory::{KVFormat, ROWS_PER_WAVE};
use axiom_core::model::TensorSource;
use axiom_core::runtime::{self, Options, WeightSource};
use axiom_core::telemetry::LayerRecord;
use axiom_host::{Host, Region, RegionError, region};
use numpy::{PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::sync::{Mutex, MutexGuard, TryLockError};

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
}

/// The engine with the memory it lives in; fields are dropped in this order.
struct Open {
    engine: runtime::Engine,
    region: Region,
    batch: Batch,
}

impl Engine {
    fn lock(&self) -> PyResult<MutexGuard<'_, Option<Open>>> {
        // Waiting would hold up the interpreter, which the other call may need to end.
        self.open.try_lock().map_err(|error| {
            PyRuntimeError::new_err(match error {
                TryLockError::WouldBlock => "the engine is in a call of another thread; use one at a time",
                TryLockError::Poisoned(_) => "the engine has failed inside a call; open the model again",
            })
        })
    }

    /// Calls `action` on the open engine, with the interpreter free for others.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        action: impl FnOnce(&mut runtime::Engine) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let mut guard = self.lock()?;
        let engine = &mut open(&mut guard)?.engine;
        py.detach(|| action(engine)).map_err(|error| to_py(py, &error))
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
    /// Load a model: `config` is `ModelConfig.as_dict()`, `tensors` a list of (name, format, rows, cols, uint8 array).
    ///
    /// The arrays are read where they are, and not kept. `progress(n_done, n_total)` counts bytes of weights; Ctrl-C ends
    /// the load.
    #[new]
    #[pyo3(signature = (config, tensors, *, n_ctx, n_seq_max, threads=None, kernels=None, kv="f16", progress=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        config: &Bound<'_, PyDict>,
        tensors: &Bound<'_, PyAny>,
        n_ctx: i64,
        n_seq_max: i64,
        threads: Option<i64>,
        kernels: Option<&str>,
        kv: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (Ok(n_ctx @ 1..), Ok(n_seq_max @ 1..)) = (usize::try_from(n_ctx), usize::try_from(n_seq_max)) else {
            return Err(PyValueError::new_err(format!(
                "expected n_ctx and n_seq_max of 1 or more, got n_ctx={n_ctx}, n_seq_max={n_seq_max}"
            )));
        };
        let kv = checked_kv(kv)?;
        let kernels = choose_kernels(py, kernels)?;
        let n_thread = checked_threads(threads)?;
        let config = checked_config(config)?;
        let buffers = tensor_buffers(tensors)?;
        let sources: Vec<TensorSource<'_>> = buffers.iter().map(|buffer| buffer.source()).collect::<PyResult<_>>()?;
        let n_vocab = config.n_vocab;
        let interrupt = Interrupt::new(py)?;

        let mut region: Option<Region> = None;
        let mut refused: Option<RegionError> = None;
        let mut failed: Option<PyErr> = None;
        let loaded = py.detach(|| {
            let host = Host::start(n_thread).map_err(LoadError::Threads)?;
            let memory = |n_bytes| match Region::new(n_bytes) {
                Ok(reserved) => Ok(region.insert(reserved).as_ptr()),
                Err(error) => {
                    refused = Some(error);
                    Err(Error::Region { len: 0, used: 0, n: n_bytes, bytes_each: 1 })
                }
            };
            let mut on_progress = |done: usize, total: usize| {
                let told = Python::attach(|py| {
                    progress.as_ref().map_or(Ok(()), |tell| tell.call1(py, (done, total)).map(drop))
                });
                let told = told.and_then(|()| interrupt.check());
                failed = told.err();
                failed.is_none()
            };
            let options = Options { n_ctx, n_seq_max, rows_per_pass: ROWS_PER_WAVE, kv };
            // SAFETY: a region is zeroed, begins at a multiple of 2 MiB, is reserved for this engine alone, and is kept beside
            // it in `Open` and dropped after it; `choose_kernels` has asked the processor.
            unsafe {
                runtime::Engine::new(
                    config,
                    WeightSource::Tensors(&sources),
                    options,
                    kernels,
                    Box::new(host),
                    memory,
                    &mut on_progress,
                )
            }
            .map_err(LoadError::Core)
        });
        match (loaded, region) {
            (Ok(engine), Some(region)) => {
                let open = Open { engine, region, batch: Batch::default() };
                Ok(Engine { open: Mutex::new(Some(open)), n_ctx, n_vocab, n_seq_max, kv })
            }
            (Err(LoadError::Threads(error)), _) => {
                Err(PyOSError::new_err(format!("cannot start {n_thread} threads: {error}; use fewer threads")))
            }
            (Err(LoadError::Core(error)), _) => Err(match (failed, refused) {
                (Some(failed), _) => failed,
                (_, Some(refused)) => out_of_memory(py, refused.to_string()),
                _ => to_py(py, &error),
            }),
            (Ok(_), None) => unreachable!("a loaded engine has asked for its memory"),
        }
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
        Ok(PyBytes::new(py, &state))
    }

    /// Open a new sequence from what `seq_save` returned; `ValueError` if that is damaged or of another model.
    #[pyo3(signature = (state, /))]
    fn seq_load(&self, py: Python<'_>, state: &Bound<'_, PyBytes>) -> PyResult<usize> {
        let state = state.as_bytes();
        self.with(py, |engine| engine.sequences().load(state))
    }

    /// Append `tokens[i]` to sequence `seqs[i]` for every i, in one pass; return logits, float32 `[n_rows, n_vocab]`.
    ///
    /// Rows are the last position of each sequence ("last"), every new position ("all"), none ("none"), or the last
    /// `logits[i]` new positions of `seqs[i]`, in the order of `seqs`; they are written to `out` if it is given. Ctrl-C ends
    /// the pass at a layer boundary, and so does `stop`, with `PassStopped`; every sequence then has the positions that it had.
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
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let mut guard = self.lock()?;
        let Open { engine, batch, .. } = open(&mut guard)?;
        batch.read(seqs, tokens, logits, self.n_vocab)?;
        let n_row = batch.n_logit();
        let interrupt = Interrupt::new(py)?;
        let flag = stop.map(StopFlag::stop);
        batch.with(|batch| {
            let array = match out {
                Some(out) => checked_out(out, [n_row, self.n_vocab])?,
                None => PyArray2::zeros(py, [n_row, self.n_vocab], false),
            };
            let mut writable = array.try_readwrite()?;
            let values = writable.as_slice_mut()?;
            let (result, interrupted) =
                py.detach(|| interrupt.watch(flag.as_ref(), |stop| engine.forward(batch, values, stop)));
            drop(writable);
            match (result, interrupted) {
                (Ok(()), _) => Ok(array),
                (Err(Error::Cancelled), Some(interrupted)) => Err(interrupted),
                (Err(error), _) => Err(to_py(py, &error)),
            }
        })
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
        Ok(dict)
    }

    /// Return the records of the layers since the last call, uint64 `[n, 16]` with the columns of
    /// `axiom.telemetry.FIELDS`, and how many before them were lost because nobody took them.
    fn take_records<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyArray2<u64>>, usize)> {
        let mut guard = self.lock()?;
        let (records, n_lost) = open(&mut guard)?.engine.telemetry_mut().records.take();
        let array = PyArray2::zeros(py, [records.len(), LayerRecord::FIELDS.len()], false);
        let mut writable = array.try_readwrite()?;
        for (row, record) in writable.as_slice_mut()?.chunks_exact_mut(LayerRecord::FIELDS.len()).zip(records) {
            row.copy_from_slice(&record.values());
        }
        drop(writable);
        Ok((array, n_lost))
    }

    /// Return what was chosen at start, and the bytes that are held.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut guard = self.lock()?;
        let Open { engine, region, .. } = open(&mut guard)?;
        let residency = py.detach(|| region.residency());
        let bytes = engine.bytes();
        let dict = PyDict::new(py);
        dict.set_item("backend", "native")?;
        dict.set_item("kernels", engine.kernels().name)?;
        dict.set_item("threads", engine.platform().n_worker())?;
        dict.set_item("kv", if self.kv == KVFormat::F16 { "f16" } else { "f32" })?;
        dict.set_item("n_ctx", self.n_ctx)?;
        dict.set_item("n_seq_max", self.n_seq_max)?;
        dict.set_item("bytes_weights", bytes.weights)?;
        dict.set_item("bytes_kv", engine.sequences().bytes_held())?;
        dict.set_item("bytes_kv_reserved", bytes.kv)?;
        dict.set_item("bytes_activations", bytes.activations)?;
        dict.set_item("bytes_resident", residency.map(|r| r.bytes_resident))?;
        dict.set_item("bytes_huge_pages", residency.map(|r| r.bytes_huge))?;
        dict.set_item("huge_pages", region::huge_page_policy())?;
        Ok(dict)
    }

    /// Free everything. Closing twice does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.lock()?.take();
        py.detach(|| drop(open));
        Ok(())
    }
}

/// Why a model was not loaded.
enum LoadError {
    Threads(std::io::Error),
    Core(Error),
}
