//! The extension module `axiom._native`: translation between Python and the core, no mathematics.
use pyo3::prelude::*;

#[pymodule]
mod _native {}
