//! Ctrl-C while the engine computes: Python notes the signal, and its handlers run when someone asks.

use crate::leaving::attached;
use crate::stop_flag::Stop;
use axiom_core::schedule::Served;
use pyo3::prelude::*;
use std::cell::RefCell;

/// Asks whether a signal has come.
pub struct Interrupt {
    /// Handlers run on the main thread only; from another, asking would wait for the interpreter for nothing.
    is_main: bool,
}

impl Interrupt {
    /// For a call on this thread.
    ///
    /// # Errors
    ///
    /// Those of the module `threading`.
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let threading = py.import("threading")?;
        let main: u64 = threading.call_method0("main_thread")?.getattr("ident")?.extract()?;
        let this: u64 = threading.call_method0("get_ident")?.extract()?;
        Ok(Self { is_main: main == this })
    }

    /// Runs the handlers of signals that have come.
    ///
    /// # Errors
    ///
    /// What a handler raises; for Ctrl-C, `KeyboardInterrupt`.
    pub fn check(&self) -> PyResult<()> {
        if self.is_main { attached(|py| py.check_signals()) } else { Ok(()) }
    }

    /// Calls `action` with a function that says whether to stop, for `flag` or, when there was a tick, for a signal; returns
    /// its result, and what a handler has raised.
    pub fn watch<T>(
        &self,
        flag: Option<&Stop>,
        action: impl FnOnce(&dyn Fn(Served) -> bool) -> T,
    ) -> (T, Option<PyErr>) {
        let raised = RefCell::new(None);
        let stop = |served: Served| {
            if flag.is_some_and(Stop::is_set) {
                return true;
            }
            if served.n_tick == 0 {
                return false;
            }
            let result = self.check();
            let is_raised = result.is_err();
            raised.replace(result.err());
            is_raised
        };
        let result = action(&stop);
        (result, raised.into_inner())
    }
}
