//! Grouped-query attention over the slabs of each sequence (`docs/arithmetic.md`, section 5).
//!
//! An item is one key-value head of some consecutive rows of a sequence: all their queries of that head's group walk through
//! the tiles together, so that a key or value is read once for all of them.

use super::forward::{Pass, Span, Wave};
use crate::arithmetic::activation::Activations;
use crate::arithmetic::attention::{QUERIES, Tile};
use crate::arithmetic::{BLOCK, TILE_POSITIONS};
use crate::memory::KVFormat;
use crate::schedule::{Cancelled, Member};

/// Rows of an attention item for a group of that many query heads.
pub fn rows_per_item(group: usize) -> usize {
    (QUERIES / group).max(1)
}

impl Pass<'_> {
    /// Attention of the rows of a wave, into the f32 rows of `attended`.
    pub(super) fn attention(
        &self,
        member: &mut Member<'_>,
        worker: usize,
        layer: usize,
        wave: &Wave,
        attended: &Activations,
    ) -> Result<(), Cancelled> {
        let n_head_kv = self.config.n_head_kv;
        let pieces = &self.pieces[wave.first_piece..wave.first_piece + wave.n_piece];
        member.phase(pieces.len() * n_head_kv, |item| {
            let piece = &pieces[item / n_head_kv];
            // SAFETY: each item is in one chunk; items share no output.
            unsafe { self.attention_item(piece, wave.first_row, item % n_head_kv, worker, layer, attended) }
        })
    }

    /// # Safety
    ///
    /// The caller's chunk alone uses this item's outputs; keys and values of its positions have been stored.
    unsafe fn attention_item(
        &self,
        piece: &Span,
        wave_row: usize,
        head_kv: usize,
        worker: usize,
        layer: usize,
        attended: &Activations,
    ) {
        let (config, work, kernels) = (self.config, self.work, self.kernels);
        let first_row = piece.first_row - wave_row;
        let group = config.n_head / config.n_head_kv;
        let n_query = piece.n_row * group;
        // SAFETY: the caller's duty; `rows_per_item` keeps n_query within the worker's scratch.
        unsafe {
            let scratch = work.scratch(worker);
            for i in 0..n_query {
                let (row, head) = (first_row + i / group, head_kv * group + i % group);
                let from = work.q.add(row * work.q_stride + head * config.head_dim);
                let to = scratch.q.add(i * work.dim_stride);
                core::ptr::copy_nonoverlapping(from, to, config.head_dim);
                (kernels.scale)(to, self.attention_scale, config.head_dim);
            }
            let attend = match self.cache.format {
                KVFormat::F16 => kernels.attend_f16,
                KVFormat::F32 => kernels.attend_f32,
            };
            let all = |first_query: usize, n_query: usize, k, v, first: bool| Tile {
                head_dim: config.head_dim,
                dim_stride: work.dim_stride,
                n_query,
                first,
                q: scratch.q.add(first_query * work.dim_stride),
                n_valid: scratch.n_valid.add(first_query),
                k,
                v,
                m: scratch.m.add(first_query),
                l: scratch.l.add(first_query),
                o: scratch.o.add(first_query * work.dim_stride),
            };
            let last_pos = piece.first_pos + piece.n_row - 1;
            for tile in 0..=last_pos / TILE_POSITIONS {
                let tile_pos = tile * TILE_POSITIONS;
                // Rows before the tile do not see it.
                let unseen = tile_pos.saturating_sub(piece.first_pos);
                for i in unseen * group..n_query {
                    let pos = piece.first_pos + i / group;
                    scratch.n_valid.add(i).write((pos + 1 - tile_pos).min(TILE_POSITIONS) as u32);
                }
                let (k, v) = self.cache.tile(piece.seq, tile, layer, head_kv);
                attend(&all(unseen * group, n_query - unseen * group, k, v, tile == 0));
            }
            for row in 0..piece.n_row {
                let out = attended.x.add((first_row + row) * attended.n_block * BLOCK);
                let out = out.add(head_kv * group * config.head_dim);
                let null = core::ptr::null();
                (kernels.finish)(&all(row * group, group, null, null, false), out, config.head_dim);
            }
        }
    }
}
