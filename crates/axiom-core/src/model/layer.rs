//! One layer: attention and feed-forward, each added to the residual stream (`docs/arithmetic.md`, section 5).

use super::forward::{Pass, Wave};
use super::layout::LayerWeights;
use crate::arithmetic::BLOCK;
use crate::arithmetic::activation::Activations;
use crate::config::RopePairing;
use crate::memory::{ROW_GROUP, row_group};
use crate::schedule::{Cancelled, Member};
use crate::telemetry::Part;
use core::ops::Range;

/// The gates of one block in this many, or of all if several are taken at once, are timed: a look at the clock costs as much as
/// a gate.
const TIMED_BLOCKS: usize = 8;
/// Rows, times blocks of 32, of gates that wait in the cache for their ups.
const RUN_ROWS: usize = 256;

impl Pass<'_> {
    /// Takes the rows of a wave through one layer: from position 2 × layer of the residual stream to the one two further.
    pub(super) fn layer(
        &self,
        member: &mut Member<'_>,
        worker: usize,
        layer: usize,
        weights: &LayerWeights,
        wave: &Wave,
    ) -> Result<(), Cancelled> {
        let work = self.work;
        let Wave { first_row, n_row, .. } = *wave;
        let position = 2 * layer;
        // SAFETY: the rows of the wave are within those of a pass.
        let stream = |position: usize| unsafe { self.stream.at(position).add(first_row * work.embd_stride) };
        let normed = self.view(&work.normed, n_row);
        let attended = self.view(&work.attended, n_row);
        let gated = self.view(&work.gated, n_row);

        let norm = |position: usize, w: *const f32| {
            // SAFETY: each row is in one chunk.
            move |row| unsafe { self.norm_row(first_row + row, position, w, row, &normed) }
        };
        self.each_row(member, n_row, norm(position, weights.attn_norm), self.note(layer, Part::Rms))?;

        let qkv = [
            (&weights.attn_q, work.q, work.q_stride),
            (&weights.attn_k, work.k, work.kv_stride),
            (&weights.attn_v, work.v, work.kv_stride),
        ];
        self.products(member, &normed, qkv, || ())?;
        // SAFETY: each row is in one chunk, and no two rows are the same position of a sequence.
        let store = |row| unsafe { self.rotate_and_store(row, first_row, weights, layer, worker) };
        self.each_row(member, n_row, store, || ())?;
        self.attention(member, worker, layer, wave, &attended)?;
        // SAFETY: each row is in one chunk.
        let quantize = |row| unsafe { (self.kernels.quantize)(&attended, row, 0, attended.n_block) };
        self.each_row(member, n_row, quantize, || ())?;
        let output = [(&weights.attn_output, stream(position + 1), work.embd_stride)];
        self.products(member, &attended, output, self.note(layer, Part::Attention))?;

        self.each_row(member, n_row, norm(position + 1, weights.ffn_norm), self.note(layer, Part::Rms))?;
        self.gate_and_up(member, worker, layer, weights, n_row)?;
        let down = [(&weights.ffn_down, stream(position + 2), work.embd_stride)];
        self.products(member, &gated, down, self.note(layer, Part::FfnDown))
    }

    /// Norms the heads of q and k where the model does, turns them, and stores k and v in the cache; `row` of the wave that
    /// begins at `first_row`.
    ///
    /// # Safety
    ///
    /// The caller's chunk alone uses this row.
    unsafe fn rotate_and_store(
        &self,
        row: usize,
        first_row: usize,
        weights: &LayerWeights,
        layer: usize,
        worker: usize,
    ) {
        let (config, work, kernels) = (self.config, self.work, self.kernels);
        let span = self.span(first_row + row);
        let pos = span.first_pos + (first_row + row - span.first_row);
        let adjacent = config.rope_pairing == RopePairing::Norm;
        let n_pair = self.rope.n_pair();
        // SAFETY: the caller's duty; heads are within the row, the position is reserved.
        unsafe {
            let (cos, sin) = (work.cos.add((first_row + row) * n_pair), work.sin.add((first_row + row) * n_pair));
            let turn = |head: *mut f32, norm: *const f32| {
                if !norm.is_null() {
                    (kernels.rms_norm)(head, norm, config.head_dim, config.rms_eps, head);
                }
                (kernels.rope)(head, cos, sin, n_pair, adjacent);
            };
            for head in 0..config.n_head {
                turn(work.q.add(row * work.q_stride + head * config.head_dim), weights.attn_q_norm);
            }
            let half = work.scratch(worker).half;
            for head in 0..config.n_head_kv {
                let k = work.k.add(row * work.kv_stride + head * config.head_dim);
                turn(k, weights.attn_k_norm);
                let v = work.v.add(row * work.kv_stride + head * config.head_dim);
                self.cache.store(kernels, span.seq, pos, layer, head, k, v, half);
            }
        }
    }

    /// silu(gate) × up, block of 32 by block: both products, the gate, and the quantisation of what `ffn_down` reads.
    fn gate_and_up(
        &self,
        member: &mut Member<'_>,
        worker: usize,
        layer: usize,
        weights: &LayerWeights,
        n_row: usize,
    ) -> Result<(), Cancelled> {
        let normed = self.view(&self.work.normed, n_row);
        let gated = self.view(&self.work.gated, n_row);
        let shares = self.shares(gated.n_block, 4 * weights.ffn_gate.bytes_panel(), n_row);
        let group = row_group(normed.n_block);
        let body = |chunk| {
            let blocks = shares.range(chunk);
            let mut act_us = 0;
            // Gate and up come from two places in memory, and a change of place is waited for: the fewer rows, the longer the
            // runs of one and then of the other.
            let run = if Self::is_streaming(n_row) { blocks.len() } else { (RUN_ROWS / n_row).max(1) };
            for start in (0..n_row).step_by(group) {
                for first in blocks.clone().step_by(run) {
                    let (rows, run) = ((start, (start + group).min(n_row)), first..(first + run).min(blocks.end));
                    // SAFETY: the scratch is this worker's; each block of the gated rows is in one chunk.
                    unsafe { act_us += self.gate_run(worker, weights, &normed, &gated, rows, run) }
                }
            }
            self.clock.gated(act_us);
        };
        member.phase_then(shares.n_chunk(), body, || {
            self.clock.note_gated(layer, self.platform.n_worker(), self.platform.now_us());
        })
    }

    /// Blocks `run` of the gated rows `start` … `end − 1`. Returns the microseconds spent on the gate, estimated from the blocks
    /// that are timed.
    ///
    /// # Safety
    ///
    /// The caller alone uses these blocks of these rows, and the worker's scratch.
    unsafe fn gate_run(
        &self,
        worker: usize,
        weights: &LayerWeights,
        normed: &Activations,
        gated: &Activations,
        (start, end): (usize, usize),
        run: Range<usize>,
    ) -> u64 {
        let (gate, up) = (&weights.ffn_gate, &weights.ffn_up);
        let stride = gated.n_block * BLOCK;
        let panels = |blocks: &Range<usize>| 2 * blocks.start..(2 * blocks.end).min(gate.n_panel());
        let mut act_us = 0;
        // SAFETY: the caller's duty; rows of `gated` are `stride` apart, those of the scratch a block.
        unsafe {
            let gates = gated.x.add(start * stride + run.start * BLOCK);
            gate.multiply(self.kernels, panels(&run), normed, (start, end), gates, stride);
            // As many blocks at a time as there is room for: the fewer rows, the longer the run.
            let ups = self.work.scratch(worker).up;
            let n_block = ROW_GROUP / (end - start);
            let one_in = TIMED_BLOCKS.div_ceil(n_block);
            for first in run.clone().step_by(n_block) {
                let blocks = first..(first + n_block).min(run.end);
                let (n_col, n_past) = (blocks.len() * BLOCK, (blocks.end * BLOCK).saturating_sub(gate.n_row));
                if n_past > 0 {
                    // Columns past the last feed-forward unit are zeros.
                    core::slice::from_raw_parts_mut(ups, ROW_GROUP * BLOCK).fill(0.0);
                }
                up.multiply(self.kernels, panels(&blocks), normed, (start, end), ups, n_col);
                let is_timed = (first / n_block).is_multiple_of(one_in);
                let start_us = if is_timed { self.platform.now_us() } else { 0 };
                for row in start..end {
                    let out = gated.x.add(row * stride + first * BLOCK);
                    core::slice::from_raw_parts_mut(out.add(n_col - n_past), n_past).fill(0.0);
                    (self.kernels.silu_mul)(out, ups.add((row - start) * n_col), n_col, out);
                    (self.kernels.quantize)(gated, row, first, blocks.end);
                }
                if is_timed {
                    act_us += (self.platform.now_us() - start_us) * one_in as u64;
                }
            }
        }
        act_us
    }
}
