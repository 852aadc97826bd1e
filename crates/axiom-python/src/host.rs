//! What the extension knows of itself and of the machine: `info`, `kernel_info`, `chosen_kernels`, `default_threads`,
//! `read_bandwidth`, `disk_bandwidth`.

use axiom_core::format::Format;
use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_host::disk_bandwidth::disk_bandwidth as measure_disk;
use axiom_host::{bandwidth, limits, region};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::Integer;
use crate::error::to_py;
use crate::leaving::Inside;

/// The environment variable that forces a kernel table where the caller does not.
const FORCED: &str = "AXIOM_KERNELS";

/// Most threads of an engine: beyond any machine that this runs on, far below what would exhaust one.
pub const MOST_THREADS: usize = 1024;

/// The kernel table to compute with: the one asked for, or the one that the environment asks for, or the best.
pub fn choose_kernels(py: Python<'_>, asked: Option<&str>) -> PyResult<&'static Kernels> {
    let cpu = CpuFeatures::detect();
    if asked.is_some() {
        return Kernels::choose(&cpu, asked).map_err(|error| to_py(py, &error));
    }
    let forced = std::env::var(FORCED).ok().filter(|name| !name.is_empty());
    Kernels::choose(&cpu, forced.as_deref()).map_err(|error| PyValueError::new_err(format!("{FORCED}: {error}")))
}

/// The name of the kernel table to compute with: the one asked for, or what `AXIOM_KERNELS` says, or the best. `ValueError` if
/// that cannot be.
#[pyfunction]
#[pyo3(signature = (asked=None))]
pub fn chosen_kernels(py: Python<'_>, asked: Option<&str>) -> PyResult<&'static str> {
    choose_kernels(py, asked).map(|table| table.name)
}

/// The number of threads, or the default of this process.
pub fn checked_threads(asked: Option<&Integer>) -> PyResult<usize> {
    const MOST: i128 = MOST_THREADS as i128;
    let Some(asked) = asked else { return Ok(limits::cpu_budget().n_threads().min(MOST_THREADS)) };
    match asked.value() {
        Some(n @ 1..=MOST) => Ok(n as usize),
        _ => Err(PyValueError::new_err(format!("threads: expected 1 to {MOST_THREADS}, got {asked}"))),
    }
}

/// Kernel tables and what they need: `cpu_features` by name, `tables` (best first) with what the processor lacks for each,
/// and the one that is `chosen` if `forced` is the wish. `ValueError` if that cannot be.
#[pyfunction]
#[pyo3(signature = (forced=None))]
pub fn kernel_info<'py>(py: Python<'py>, forced: Option<&str>) -> PyResult<Bound<'py, PyDict>> {
    let cpu = CpuFeatures::detect();
    let chosen = Kernels::choose(&cpu, forced).map_err(|error| to_py(py, &error))?;
    let features = PyDict::new(py);
    for (name, is_there) in cpu.list() {
        features.set_item(name, is_there)?;
    }
    let tables = PyList::empty(py);
    for table in Kernels::all() {
        let entry = PyDict::new(py);
        entry.set_item("name", table.name)?;
        entry.set_item("missing", table.missing(&cpu).collect::<Vec<_>>())?;
        tables.append(entry)?;
    }
    let info = PyDict::new(py);
    info.set_item("cpu_features", features)?;
    info.set_item("tables", tables)?;
    info.set_item("chosen", chosen.name)?;
    Ok(info)
}

/// What this extension is: version, contract, weight formats, kernel tables, and how it was built.
#[pyfunction]
pub fn info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let info = PyDict::new(py);
    info.set_item("version", env!("CARGO_PKG_VERSION"))?;
    info.set_item("contract", axiom_core::arithmetic::CONTRACT)?;
    info.set_item("formats", Format::ALL.map(|format| format.name()).to_vec())?;
    info.set_item("kernels", kernel_info(py, None)?)?;
    info.set_item("architecture", std::env::consts::ARCH)?;
    info.set_item("optimized", !cfg!(debug_assertions))?;
    info.set_item("huge_pages", region::huge_page_policy())?;
    Ok(info)
}

/// How many threads an engine uses by default, and what decides it: `affinity`, `cores` or `quota`.
#[pyfunction]
pub fn default_threads(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let budget = limits::cpu_budget();
    let report = PyDict::new(py);
    report.set_item("n_threads", budget.n_threads().min(MOST_THREADS))?;
    report.set_item("bounded_by", budget.bounded_by())?;
    report.set_item("n_affinity", budget.n_affinity)?;
    report.set_item("n_cores", budget.n_cores)?;
    report.set_item("quota", budget.quota)?;
    Ok(report)
}

/// How fast `threads` threads together read memory, in bytes per second: the best of the rounds of about `seconds`.
#[pyfunction]
#[pyo3(signature = (threads=None, seconds=0.5))]
pub fn read_bandwidth(py: Python<'_>, threads: Option<Integer>, seconds: f64) -> PyResult<f64> {
    let (n_thread, limit) = (checked_threads(threads.as_ref())?, checked_seconds(seconds)?);
    let inside = Inside::enter(py);
    let measured = inside.released(py, || bandwidth::read_bandwidth(n_thread, limit));
    match measured {
        Ok(bandwidth) => Ok(bandwidth.best_gb_s * 1e9),
        Err(error) => Err(crate::error::out_of_memory(py, error.to_string())),
    }
}

/// How fast the file at `path` is read as weights are streamed, for about `seconds`: bytes per second, and whether the reads
/// went past the page cache. `OSError` if it cannot be read.
#[pyfunction]
#[pyo3(signature = (path, seconds=1.0))]
pub fn disk_bandwidth(py: Python<'_>, path: PathBuf, seconds: f64) -> PyResult<(f64, bool)> {
    let limit = checked_seconds(seconds)?;
    let inside = Inside::enter(py);
    let measured = inside.released(py, || measure_disk(&path, limit));
    match measured {
        Ok(measured) => Ok((measured.bytes_per_second, measured.is_direct)),
        Err(error) => Err(PyOSError::new_err(format!("{}: its disk cannot be measured: {error}", path.display()))),
    }
}

fn checked_seconds(seconds: f64) -> PyResult<Duration> {
    match (0.0..=60.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err(PyValueError::new_err(format!("seconds: expected 0 to 60, got {seconds}"))),
    }
}
