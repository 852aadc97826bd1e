//! `axiom._native.testing.AttentionTiles`: tiles of keys and values, to be attended to again and again under a stopwatch; and
//! the clock of the processor, in whose cycles a kernel's limit is counted.

use crate::testing_product::COUNT_MAX;
use axiom_core::arithmetic::TILE_POSITIONS;
use axiom_core::arithmetic::attention::Tile;
use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_host::Region;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Values of a head are a multiple of this.
const LANES: usize = 16;

/// `n_tile` tiles of 128 positions of one head, and `n_query` queries that see all of them.
#[pyclass(module = "axiom._native.testing")]
pub struct AttentionTiles {
    table: &'static Kernels,
    is_f16: bool,
    /// Keys of a tile, then its values.
    cache: Region,
    /// f32: queries, outputs, maxima, sums; then the numbers of valid positions.
    rows: Region,
    n_query: usize,
    n_tile: usize,
    head_dim: usize,
}

#[pymethods]
impl AttentionTiles {
    /// Makes both, in memory on huge pages where there are any.
    #[new]
    fn new(table: &str, kv: &str, n_tile: usize, head_dim: usize, n_query: usize) -> PyResult<AttentionTiles> {
        let wrong = |what: String| PyValueError::new_err(what);
        let table = Kernels::choose(&CpuFeatures::detect(), Some(table)).map_err(|error| wrong(error.to_string()))?;
        let is_f16 = match kv {
            "f16" => true,
            "f32" => false,
            _ => return Err(wrong(format!("kv: expected 'f16' or 'f32', got {kv:?}"))),
        };
        if n_tile == 0 || n_query == 0 || head_dim == 0 || !head_dim.is_multiple_of(LANES) {
            return Err(wrong(format!(
                "expected tiles, queries and a multiple of {LANES} dimensions, got {n_tile}, {n_query}, {head_dim}"
            )));
        }
        if n_tile.max(n_query).max(head_dim) > COUNT_MAX {
            return Err(wrong(format!(
                "expected up to {COUNT_MAX} tiles, queries and dimensions, got {n_tile}, {n_query}, {head_dim}"
            )));
        }
        let memory = |bytes: usize| Region::new(bytes).map_err(|error| PyMemoryError::new_err(error.to_string()));
        let n_value = n_tile * 2 * TILE_POSITIONS * head_dim;
        let mut cache = memory(n_value * if is_f16 { 2 } else { 4 })?;
        let mut rows = memory(4 * n_query * (2 * head_dim + 3))?;
        // Numbers between 0.25 and 1, in f16 and in f32.
        let bytes = cache.as_mut_slice();
        if is_f16 {
            for (i, x) in bytes.chunks_exact_mut(2).enumerate() {
                x.copy_from_slice(&(0x3400 + (i % 2039) as u16).to_le_bytes());
            }
        } else {
            for (i, x) in bytes.chunks_exact_mut(4).enumerate() {
                x.copy_from_slice(&((i % 2039) as f32 / 4096.0 + 0.25).to_le_bytes());
            }
        }
        for (i, x) in rows.as_mut_slice()[..4 * n_query * head_dim].chunks_exact_mut(4).enumerate() {
            x.copy_from_slice(&((i % 1009) as f32 / 8192.0 - 0.0625).to_le_bytes());
        }
        Ok(AttentionTiles { table, is_f16, cache, rows, n_query, n_tile, head_dim })
    }

    /// Bytes of keys and values, which one run reads.
    #[getter]
    fn n_bytes(&self) -> usize {
        self.cache.n_bytes()
    }

    /// Multiplications of one run.
    #[getter]
    fn n_product(&self) -> usize {
        self.n_tile * 2 * TILE_POSITIONS * self.head_dim * self.n_query
    }

    /// Lets all queries walk through all tiles, on the calling thread, without the interpreter lock.
    fn run(&mut self, py: Python<'_>) {
        let this = &*self;
        py.detach(|| {
            let attend = if this.is_f16 { this.table.attend_f16 } else { this.table.attend_f32 };
            let half = this.cache.n_bytes() / this.n_tile / 2;
            // SAFETY: the pieces of `rows` and of `cache` are as long as the shapes of a tile say; the processor runs the table.
            unsafe {
                let q = this.rows.as_ptr().as_ptr().cast::<f32>();
                let o = q.add(this.n_query * this.head_dim);
                let m = o.add(this.n_query * this.head_dim);
                let l = m.add(this.n_query);
                let n_valid = l.add(this.n_query).cast::<u32>();
                for i in 0..this.n_query {
                    n_valid.add(i).write(TILE_POSITIONS as u32);
                }
                for tile in 0..this.n_tile {
                    let k = this.cache.as_ptr().as_ptr().add(tile * 2 * half);
                    attend(&Tile {
                        head_dim: this.head_dim,
                        dim_stride: this.head_dim,
                        n_query: this.n_query,
                        first: tile == 0,
                        q,
                        n_valid,
                        k,
                        v: k.add(half),
                        m,
                        l,
                        o,
                    });
                }
            }
        });
    }
}

/// Cycles of the processor in a second, by a chain of multiplications of whole numbers, which take three cycles each on
/// x86-64, and of an `or`, which takes one: the best of several tries.
#[pyfunction]
pub fn clock_hz(py: Python<'_>) -> f64 {
    const N: u32 = 2_000_000;
    py.detach(|| {
        let mut best = 0.0f64;
        for _ in 0..9 {
            let start = Instant::now();
            let mut x = black_box(3u64);
            for _ in 0..N {
                x = x.wrapping_mul(x | 1);
            }
            black_box(x);
            best = best.max(4.0 * f64::from(N) / start.elapsed().as_secs_f64());
        }
        best
    })
}
