//! `axiom._native.testing.float64`: the binary64 functions of the core over arrays, for comparison with the reference.

use pyo3::prelude::*;

/// Element by element, each function of `axiom_core::arithmetic::float64`.
#[pymodule]
pub mod float64 {
    use axiom_core::arithmetic::float64 as core;
    use numpy::{PyArray1, PyReadonlyArray1};
    use pyo3::prelude::*;

    fn map<'py>(x: &PyReadonlyArray1<'py, f64>, function: fn(f64) -> f64) -> Bound<'py, PyArray1<f64>> {
        PyArray1::from_iter(x.py(), x.as_array().iter().map(|&element| function(element)))
    }

    /// `exp` of each element.
    #[pyfunction]
    fn exp<'py>(x: PyReadonlyArray1<'py, f64>) -> Bound<'py, PyArray1<f64>> {
        map(&x, core::exp)
    }

    /// `ln` of each element.
    #[pyfunction]
    fn ln<'py>(x: PyReadonlyArray1<'py, f64>) -> Bound<'py, PyArray1<f64>> {
        map(&x, core::ln)
    }

    /// `sin` of each element.
    #[pyfunction]
    fn sin<'py>(x: PyReadonlyArray1<'py, f64>) -> Bound<'py, PyArray1<f64>> {
        map(&x, core::sin)
    }

    /// `cos` of each element.
    #[pyfunction]
    fn cos<'py>(x: PyReadonlyArray1<'py, f64>) -> Bound<'py, PyArray1<f64>> {
        map(&x, core::cos)
    }
}
