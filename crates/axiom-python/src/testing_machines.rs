//! `axiom._native.testing.run_machine`: the core's state machines, driven by programs, for comparison with their twins.

use axiom_core::conformance::machines::{Answer, Step, run};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Runs a program on the machine of that name, made with `sizes`: a list of `(request, number, number)`. Returns for each
/// request what was answered, in words, and the state after it. ValueError for a machine or a request that there is not.
#[pyfunction]
pub fn run_machine(machine: &str, sizes: Vec<usize>, program: Vec<(String, u64, u64)>) -> PyResult<Vec<Answer>> {
    let program: Vec<Step<'_>> = program.iter().map(|(request, a, b)| (request.as_str(), *a, *b)).collect();
    run(machine, &sizes, &program).map_err(PyValueError::new_err)
}
