//! How an engine comes to be: its memory is reserved, its threads start, its weights are loaded.

use crate::engine_arguments::Batch;
use crate::error::{out_of_memory, system_to_py, to_py_about};
use crate::image::OpenError;
use crate::leaving::{Inside, attached};
use crate::signals::Interrupt;
use axiom_core::config::ModelConfig;
use axiom_core::error::Error;
use axiom_core::kernels::Kernels;
use axiom_core::runtime::{self, Options, WeightSource};
use axiom_host::{Host, Region, RegionError, Timer};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// The engine with the memory it lives in; fields are dropped in this order.
pub struct Open {
    pub engine: runtime::Engine,
    pub region: Region,
    pub batch: Batch,
    /// What makes a pass look up between layers.
    pub timer: Timer,
}

/// The error of an image that cannot be opened, with its name.
pub fn cannot_open(py: Python<'_>, path: &Path, error: OpenError) -> PyErr {
    match error {
        OpenError::Io(error) => system_to_py(path, &error),
        OpenError::Core(error) => to_py_about(py, Some(path), &error),
    }
}

/// How a model is loaded, whatever its weights come from.
pub struct Loading {
    pub options: Options,
    pub kernels: &'static Kernels,
    pub n_thread: usize,
    pub progress: Option<Py<PyAny>>,
}

impl Loading {
    /// Reserves memory, starts threads, and loads `source`, with the interpreter free for others. `file_of` is asked for the file
    /// that an error is about.
    pub fn open<'a>(
        self,
        py: Python<'_>,
        inside: &Inside,
        config: ModelConfig,
        source: WeightSource<'_>,
        file_of: impl Fn(&Error) -> Option<&'a Path>,
    ) -> PyResult<Open> {
        let Loading { options, kernels, n_thread, progress } = self;
        let interrupt = Interrupt::new(py)?;
        let mut region: Option<Region> = None;
        let mut refused: Option<RegionError> = None;
        let mut failed: Option<PyErr> = None;
        let loaded = inside.released(py, || {
            let host = Host::start(n_thread).map_err(LoadError::Threads)?;
            let memory = |n_bytes| match Region::new(n_bytes) {
                Ok(reserved) => Ok(region.insert(reserved).as_ptr()),
                Err(error) => {
                    refused = Some(error);
                    Err(Error::Region { len: 0, used: 0, n: n_bytes, bytes_each: 1 })
                }
            };
            let mut on_progress = |done: usize, total: usize| {
                let told =
                    attached(|py| progress.as_ref().map_or(Ok(()), |tell| tell.call1(py, (done, total)).map(drop)));
                let told = told.and_then(|()| interrupt.check());
                failed = told.err();
                failed.is_none()
            };
            // SAFETY: a region is zeroed, begins at a multiple of 2 MiB, is reserved for this engine alone, and is kept beside
            // it in `Open` and dropped after it; `choose_kernels` has asked the processor.
            let engine = unsafe {
                runtime::Engine::new(config, source, options, kernels, Box::new(host), memory, &mut on_progress)
            }
            .map_err(LoadError::Core)?;
            let timer = Timer::start(Arc::clone(engine.lock())).map_err(LoadError::Threads)?;
            Ok((engine, timer))
        });
        match (loaded, region) {
            (Ok((engine, timer)), Some(region)) => Ok(Open { engine, region, batch: Batch::default(), timer }),
            (Err(LoadError::Threads(error)), _) => {
                Err(PyOSError::new_err(format!("cannot start {n_thread} threads: {error}; use fewer threads")))
            }
            (Err(LoadError::Core(error)), _) => Err(match (failed, refused) {
                (Some(failed), _) => failed,
                (_, Some(refused)) => out_of_memory(py, refused.to_string()),
                _ => to_py_about(py, file_of(&error), &error),
            }),
            (Ok(_), None) => unreachable!("a loaded engine has asked for its memory"),
        }
    }
}

/// Why a model was not loaded.
enum LoadError {
    Threads(std::io::Error),
    Core(Error),
}
