//! The end of the interpreter, while threads of it compute.
//!
//! A program may end while daemon threads of it are in here, at work without the interpreter. Before 3.14, Python ends a
//! thread that asks for the interpreter too late by unwinding its stack, which cannot go through Rust and aborts the
//! process. So every thread comes back through a gate, and once the program ends, the gate keeps it until the process is
//! over. The end waits for threads that are past the gate and may yet ask for the interpreter with Rust on their stack;
//! nothing waits for what is computed without it.

use axiom_host::float_mode::StandardFloat;
use pyo3::prelude::*;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

/// How long the end waits for a thread past the gate: for a callback in Python that takes longer, the process aborts.
const LONGEST_RETURN: Duration = Duration::from_secs(1);

static GATE: Gate = Gate { state: Mutex::new(State { leaver: None, n_past: 0 }), changed: Condvar::new() };

struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The thread that ends the interpreter, once it does.
    leaver: Option<ThreadId>,
    /// Threads past the gate that may ask for the interpreter with Rust on their stack.
    n_past: usize,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes through the gate if it is open.
    fn try_pass(&self) -> bool {
        let mut state = self.lock();
        let is_open = state.leaver.is_none_or(|leaver| leaver == thread::current().id());
        state.n_past += usize::from(is_open);
        is_open
    }

    /// Goes through the gate, or stays there for ever, without the interpreter.
    fn pass(&self) {
        if !self.try_pass() {
            stay();
        }
    }

    /// Says that this thread needs nothing more from the interpreter.
    fn arrived(&self) {
        let mut state = self.lock();
        // One that panicked on its way is not among them.
        state.n_past = state.n_past.saturating_sub(1);
        if state.n_past == 0 {
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.leaver = Some(thread::current().id());
        drop(self.changed.wait_timeout_while(state, LONGEST_RETURN, |state| state.n_past > 0));
    }
}

fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// A call from Python, in which Rust is on the thread's stack while Python's functions run and may wait.
///
/// Whoever allocates an array or calls Python code holds one, and gives the interpreter away by `released` alone. Meanwhile
/// the thread is in the mode in which the arithmetic is defined: numbers are made outside of a worker's jobs too.
pub struct Inside {
    _mode: StandardFloat,
}

impl Inside {
    /// For a call that begins.
    pub fn enter(py: Python<'_>) -> Self {
        if !GATE.try_pass() {
            py.detach(|| stay());
        }
        Self { _mode: StandardFloat::enter() }
    }

    /// Calls `action` with the interpreter free for others, as `Python::detach`.
    pub fn released<T: Send>(&self, py: Python<'_>, action: impl FnOnce() -> T + Send) -> T {
        GATE.arrived();
        py.detach(|| {
            let result = action();
            GATE.pass();
            result
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        GATE.arrived();
    }
}

/// Calls `action` with the interpreter, from inside of `Inside::released`, as `Python::attach`.
pub fn attached<T>(action: impl FnOnce(Python<'_>) -> T) -> T {
    GATE.pass();
    let result = Python::attach(action);
    GATE.arrived();
    result
}

/// End the program: threads inside of the extension, and those that come, stay there. `axiom.leaving` calls it.
#[pyfunction]
pub fn leave(py: Python<'_>) {
    // Those who return need the interpreter for that.
    py.detach(|| GATE.close());
}
