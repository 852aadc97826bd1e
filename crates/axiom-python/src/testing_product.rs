//! `axiom._native.testing.Product`: a matrix and rows of activations, to be multiplied again and again under a stopwatch.

use axiom_core::arithmetic::activation::Activations;
use axiom_core::arithmetic::block::Block;
use axiom_core::arithmetic::{BLOCK, LANES};
use axiom_core::format::Format;
use axiom_core::kernels::{CpuFeatures, Kernels};
use axiom_core::memory::row_group;
use axiom_host::Region;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

/// What sizes are multiplied from: so that no product of them overflows.
pub(crate) const COUNT_MAX: usize = 1 << 20;

/// `n_panel` panels of 16 rows, of arbitrary weights, and `n_token` rows of activations.
#[pyclass(module = "axiom._native.testing")]
pub struct Product {
    table: &'static Kernels,
    format: Format,
    weights: Region,
    /// f32 rows, then their blocks, then the outputs.
    rows: Region,
    n_block: usize,
    n_token: usize,
    n_panel: usize,
    bytes_panel: usize,
}

impl Product {
    fn activations(&self) -> Activations {
        let x = self.rows.as_ptr().as_ptr().cast::<f32>();
        // SAFETY: inside `rows`: the blocks follow the f32 values.
        let blocks = unsafe { x.add(self.n_token * self.n_block * BLOCK).cast::<Block>() };
        Activations { x, blocks, n_block: self.n_block, n_row: self.n_token, widest: self.table.tile }
    }
}

#[pymethods]
impl Product {
    /// Makes both, in memory on huge pages where there are any.
    #[new]
    fn new(table: &str, format: &str, n_panel: usize, n_col: usize, n_token: usize) -> PyResult<Product> {
        let wrong = |what: String| PyValueError::new_err(what);
        let table = Kernels::choose(&CpuFeatures::detect(), Some(table)).map_err(|error| wrong(error.to_string()))?;
        let format = Format::from_name(format).ok_or_else(|| wrong(format!("no weight format is named {format:?}")))?;
        let bytes_panel = format.bytes_panel(n_col).filter(|bytes| *bytes > 0).ok_or_else(|| {
            wrong(format!("expected columns in whole blocks of {}, got {n_col}", format.columns_per_block()))
        })?;
        for n in [n_panel, n_col, n_token] {
            if n > COUNT_MAX {
                return Err(wrong(format!("expected panels, columns and rows up to {COUNT_MAX}, got {n}")));
            }
        }
        let n_block = n_col.div_ceil(BLOCK);
        let (bytes_x, bytes_out) = (n_token * n_block * BLOCK * 4, n_token * n_panel * LANES * 4);
        let bytes_rows = bytes_x + n_token * n_block * size_of::<Block>() + bytes_out;
        let memory = |bytes: usize| Region::new(bytes).map_err(|error| PyMemoryError::new_err(error.to_string()));
        let (mut weights, mut rows) = (memory(bytes_panel * n_panel)?, memory(bytes_rows)?);
        // Bytes that repeat after a prime number; every second begins with 001, so that scales and plain numbers are finite and
        // not subnormal, which would be slow.
        for (i, byte) in weights.as_mut_slice().iter_mut().enumerate() {
            let any = (i % 8191 * 37 % 251) as u8;
            *byte = if i % 2 == 1 { any & 0x1F | 0x20 } else { any };
        }
        for (i, x) in rows.as_mut_slice()[..bytes_x].chunks_exact_mut(4).enumerate() {
            x.copy_from_slice(&((i % 1009) as f32 / 500.0 - 1.0).to_le_bytes());
        }
        let product = Product { table, format, weights, rows, n_block, n_token, n_panel, bytes_panel };
        for row in 0..n_token {
            // SAFETY: the processor runs the table; the row has `n_block` blocks, and nobody else has them.
            unsafe { (table.quantize)(&product.activations(), row, 0, n_block) };
        }
        Ok(product)
    }

    /// Bytes of the weights, which one run reads.
    #[getter]
    fn n_bytes(&self) -> usize {
        self.bytes_panel * self.n_panel
    }

    /// Multiplications of one run.
    #[getter]
    fn n_product(&self) -> usize {
        self.n_panel * LANES * self.n_block * BLOCK * self.n_token
    }

    /// Multiplies all panels with all rows, on the calling thread, without the interpreter lock.
    fn run(&mut self, py: Python<'_>) {
        let this = &*self;
        py.detach(|| {
            let x = this.activations();
            let stride = this.n_panel * LANES;
            // SAFETY: the outputs follow the blocks; every panel is whole and has 16 places in each row of them.
            unsafe {
                let out = x.blocks.add(this.n_token * this.n_block).cast::<f32>();
                let group = row_group(this.n_block);
                for start in (0..this.n_token).step_by(group) {
                    let rows = (start, (start + group).min(this.n_token));
                    let panels = (this.weights.as_ptr().as_ptr().cast_const(), this.n_panel);
                    this.table.multiply(this.format, panels, &x, rows, out.add(start * stride), stride);
                }
            }
        });
    }
}
