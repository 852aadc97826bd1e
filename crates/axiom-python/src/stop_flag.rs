//! `axiom._native.StopFlag`: asks a pass to stop, from any thread or at a moment.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a pass looks at between layers.
#[derive(Clone)]
pub struct Stop {
    is_set: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Whether to stop now.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Stops the pass that it is given to, at the next layer boundary: when `set` is called, or after `timeout` seconds.
#[pyclass(frozen, module = "axiom._native")]
pub struct StopFlag {
    stop: Stop,
}

impl StopFlag {
    /// A hold on it for a pass.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

#[pymethods]
impl StopFlag {
    /// Make a flag that is set after `timeout` seconds, or only by `set`.
    #[new]
    #[pyo3(signature = (timeout=None))]
    fn new(timeout: Option<f64>) -> PyResult<Self> {
        let deadline = match timeout {
            None => None,
            Some(seconds) if seconds >= 0.0 => {
                // Beyond what the clock can count is never.
                Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait))
            }
            Some(seconds) => {
                return Err(PyValueError::new_err(format!("timeout: expected seconds from 0 up, got {seconds}")));
            }
        };
        Ok(StopFlag { stop: Stop { is_set: Arc::default(), deadline } })
    }

    /// Stop now. May be called from any thread.
    fn set(&self) {
        self.stop.is_set.store(true, Ordering::Relaxed);
    }

    /// Return whether it has been set, or its time is over.
    fn is_set(&self) -> bool {
        self.stop.is_set()
    }
}
