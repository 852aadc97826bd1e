//! The activations of a pass: every buffer that the forward pass writes besides the cache, carved once.

use super::region::TensorRegion;
use crate::arithmetic::activation::Activations;
use crate::arithmetic::attention::QUERIES;
use crate::arithmetic::block::Block;
use crate::arithmetic::{BLOCK, LANES};
use crate::config::ModelConfig;
use crate::error::Error;

/// Rows (tokens) that go through a layer together. A pass of more takes them in waves; the bits do not depend on it.
pub const ROWS_PER_WAVE: usize = 256;

/// Rows of activations of one width, without saying how many of them are in use.
#[derive(Clone, Copy)]
pub struct Rows {
    x: *mut f32,
    blocks: *mut Block,
    /// Blocks of a row.
    pub n_block: usize,
}

impl Rows {
    fn carve(region: &mut TensorRegion, n_row: usize, n_col: usize) -> Result<Rows, Error> {
        let n_block = n_col.div_ceil(BLOCK);
        Ok(Rows { x: region.carve(n_row * n_block * BLOCK)?, blocks: region.carve(n_row * n_block)?, n_block })
    }

    /// The first `n_row` rows, in tiles for a table whose widest tile is `widest`.
    pub fn view(&self, n_row: usize, widest: usize) -> Activations {
        Activations { x: self.x, blocks: self.blocks, n_block: self.n_block, n_row, widest }
    }
}

/// One worker's own buffers.
#[derive(Clone, Copy)]
pub struct Scratch {
    /// f32 `[n_query_max][dim_stride]`: scaled queries of an attention item.
    pub q: *mut f32,
    /// f32 `[n_query_max][dim_stride]`: their outputs.
    pub o: *mut f32,
    /// f32 `[n_query_max]`: running maxima.
    pub m: *mut f32,
    /// f32 `[n_query_max]`: running sums.
    pub l: *mut f32,
    /// u32 `[n_query_max]`: positions seen in the tile.
    pub n_valid: *mut u32,
    /// f32 `[ROW_GROUP × 32]`: what the up projection gives of a block for each row, or of several for fewer rows.
    pub up: *mut f32,
    /// u16 `[dim_stride]`: a head in f16.
    pub half: *mut u16,
}

/// Rows that a product takes while a panel is in the cache, at most.
pub const ROW_GROUP: usize = 64;
/// Bytes of activations that stay in a second-level cache beside the panels that go by.
const BYTES_GROUP: usize = 256 << 10;

/// Rows of `n_block` blocks that a product takes while a panel is in the cache: panels are unpacked once for all of them.
pub fn row_group(n_block: usize) -> usize {
    if ROW_GROUP * n_block * size_of::<Block>() > BYTES_GROUP { ROW_GROUP / 2 } else { ROW_GROUP }
}

/// All buffers of a pass.
pub struct Work {
    /// Normed rows, n_embd wide: what q, k, v, gate, up and the output head read.
    pub normed: Rows,
    /// Attention's outputs, n_head × head_dim wide.
    pub attended: Rows,
    /// silu(gate) × up, n_ff wide.
    pub gated: Rows,
    /// f32 `[ROWS_PER_WAVE][q_stride]`.
    pub q: *mut f32,
    /// f32 `[ROWS_PER_WAVE][kv_stride]`.
    pub k: *mut f32,
    /// f32 `[ROWS_PER_WAVE][kv_stride]`.
    pub v: *mut f32,
    /// f32 `[rows_per_pass][rope_dim ÷ 2]`.
    pub cos: *mut f32,
    /// f32 `[rows_per_pass][rope_dim ÷ 2]`.
    pub sin: *mut f32,
    /// Distance of rows of `q`: n_head × head_dim, up to whole panels.
    pub q_stride: usize,
    /// Distance of rows of `k` and `v`.
    pub kv_stride: usize,
    /// Distance of rows of the residual stream.
    pub embd_stride: usize,
    /// head_dim up to whole vectors.
    pub dim_stride: usize,
    /// Queries that a worker's scratch has room for.
    pub n_query_max: usize,
    scratch: *mut f32,
    scratch_stride: usize,
}

// SAFETY: the pointers are into a region that the engine owns; who writes what when is the forward pass's contract.
unsafe impl Send for Work {}
// SAFETY: as above.
unsafe impl Sync for Work {}

impl Work {
    /// Carves the buffers for a model, a number of workers, and passes of up to `rows_per_pass` rows.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] if the region is too small.
    pub fn carve(
        region: &mut TensorRegion,
        model: &ModelConfig,
        n_worker: usize,
        rows_per_pass: usize,
    ) -> Result<Work, Error> {
        let n = ROWS_PER_WAVE;
        let (n_q, n_kv) = (model.n_head * model.head_dim, model.n_head_kv * model.head_dim);
        let (q_stride, kv_stride) = (n_q.next_multiple_of(LANES), n_kv.next_multiple_of(LANES));
        let embd_stride = model.n_embd.next_multiple_of(LANES);
        let dim_stride = model.head_dim.next_multiple_of(LANES);
        // Those of one token alone may be more.
        let n_query_max = QUERIES.max(model.n_head / model.n_head_kv);
        // q, o; m, l, n_valid; up; half (as f32: twice its size) — each a multiple of a cache line.
        let scratch_stride =
            2 * n_query_max * dim_stride + 3 * n_query_max.next_multiple_of(LANES) + ROW_GROUP * BLOCK + dim_stride;
        Ok(Work {
            normed: Rows::carve(region, n, model.n_embd)?,
            attended: Rows::carve(region, n, n_q)?,
            gated: Rows::carve(region, n, model.n_ff)?,
            q: region.carve(n * q_stride)?,
            k: region.carve(n * kv_stride)?,
            v: region.carve(n * kv_stride)?,
            cos: region.carve(rows_per_pass * model.rope_dim / 2)?,
            sin: region.carve(rows_per_pass * model.rope_dim / 2)?,
            q_stride,
            kv_stride,
            embd_stride,
            dim_stride,
            n_query_max,
            scratch: region.carve(n_worker * scratch_stride)?,
            scratch_stride,
        })
    }

    /// The buffers of one worker.
    ///
    /// # Safety
    ///
    /// `worker` is below the number that the buffers were carved for.
    pub unsafe fn scratch(&self, worker: usize) -> Scratch {
        let queries = self.n_query_max.next_multiple_of(LANES);
        // SAFETY: the pieces add up to `scratch_stride`.
        unsafe {
            let q = self.scratch.add(worker * self.scratch_stride);
            let o = q.add(self.n_query_max * self.dim_stride);
            let m = o.add(self.n_query_max * self.dim_stride);
            let l = m.add(queries);
            let n_valid = l.add(queries);
            let up = n_valid.add(queries);
            let half = up.add(ROW_GROUP * BLOCK);
            Scratch { q, o, m, l, n_valid: n_valid.cast(), up, half: half.cast() }
        }
    }
}
