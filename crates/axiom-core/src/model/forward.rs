//! The forward pass: rows of tokens in, rows of logits out. Every worker runs [`Pass::run`]; phases share out the work.

use super::boundary::Boundary;
use super::matrix::Matrix;
use super::rope::Rope;
use super::weights::Weights;
use crate::arithmetic::LANES;
use crate::arithmetic::activation::Activations;
use crate::config::ModelConfig;
use crate::kernels::Kernels;
use crate::memory::{ActivationSlots, KVCachePool, ROWS_PER_WAVE, Rows, Work, row_group};
use crate::platform::Platform;
use crate::schedule::{Cancelled, Member, Phases, Shares};
use crate::telemetry::{LayerClock, Part};
use core::cell::RefCell;
use core::ops::Range;

/// Consecutive rows of a pass that belong to one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The sequence.
    pub seq: usize,
    /// Its first row in the pass.
    pub first_row: usize,
    /// Rows.
    pub n_row: usize,
    /// Position of the first row in the sequence.
    pub first_pos: usize,
}

/// Consecutive rows of a pass that go through a layer together.
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    /// First row in the pass.
    pub first_row: usize,
    /// Rows.
    pub n_row: usize,
    /// First piece of attention.
    pub first_piece: usize,
    /// Pieces.
    pub n_piece: usize,
}

/// One pass over the weights. Its rows go through each layer in waves, so that a layer is read once for all of them.
pub struct Pass<'a> {
    /// The shape of the model.
    pub config: &'a ModelConfig,
    /// Its weights.
    pub weights: &'a Weights,
    /// Its rotation.
    pub rope: &'a Rope,
    /// 1 ÷ sqrt(head_dim).
    pub attention_scale: f32,
    /// Keys and values; positions of the spans are reserved.
    pub cache: &'a KVCachePool,
    /// Buffers.
    pub work: &'a Work,
    /// The table to compute with.
    pub kernels: &'a Kernels,
    /// The machine.
    pub platform: &'a dyn Platform,
    /// Shared by the workers; fresh.
    pub phases: &'a Phases,
    /// Tokens of the rows.
    pub tokens: &'a [u32],
    /// The rows' sequences, in order, without gaps.
    pub spans: &'a [Span],
    /// Rows that attention takes together: pieces of the spans.
    pub pieces: &'a [Span],
    /// The rows in waves, in order, without gaps.
    pub waves: &'a [Wave],
    /// Rows that get logits.
    pub logit_rows: &'a [u32],
    /// f32 `[logit_rows][n_vocab]`.
    pub logits: *mut f32,
    /// For each layer, whether its weights have to be waited for.
    pub is_streamed: &'a [bool],
    /// Whether the embedding of the rows is in the residual stream already.
    pub is_embedded: bool,
    /// Positions of the residual stream.
    pub stream: ActivationSlots,
    /// What worker 0 does between layers.
    pub boundary: &'a RefCell<Boundary<'a>>,
    /// Where the time goes; written by whoever ends a phase.
    pub clock: &'a LayerClock,
}

// SAFETY: what the pointers reach is shared out by phases: each chunk writes what no other chunk of the phase touches.
// `boundary` is used by worker 0 alone, which is the thread that made the pass.
unsafe impl Sync for Pass<'_> {}

/// Rows that a chunk of row-wise work takes.
const ROWS_PER_CHUNK: usize = 4;
/// Bytes of weights, times rows, that make a chunk of a product worth handing out.
const LEAST_WORK: usize = 64 * 1024;

impl Pass<'_> {
    /// One worker's part of the pass.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if `stop` said so; the cache then holds nothing new that counts.
    pub fn run(&self, worker: usize) -> Result<(), Cancelled> {
        let mut member = self.phases.join(self.platform);
        let at_boundary = |action: &dyn Fn(&mut Boundary<'_>)| {
            if worker == 0 {
                action(&mut self.boundary.borrow_mut());
            }
        };
        at_boundary(&|boundary| boundary.begin_pass());
        for wave in self.waves {
            self.embed(&mut member, wave)?;
        }
        for layer in 0..self.config.n_layer {
            at_boundary(&|boundary| boundary.begin_layer(layer));
            if self.is_streamed[layer] {
                member.gate()?;
            }
            let weights = self.weights.layer(layer);
            for wave in self.waves {
                self.layer(&mut member, worker, layer, &weights, wave)?;
            }
            at_boundary(&|boundary| boundary.end_layer(layer));
        }
        for (i, rows) in self.logit_rows.chunks(ROWS_PER_WAVE).enumerate() {
            self.output(&mut member, rows, i * ROWS_PER_WAVE)?;
        }
        if !self.logit_rows.is_empty() {
            at_boundary(&|boundary| boundary.end_output());
        }
        Ok(())
    }

    /// The rows of a buffer that this pass uses.
    pub(super) fn view(&self, rows: &Rows, n_row: usize) -> Activations {
        rows.view(n_row, self.kernels.tile)
    }

    /// The span that a row belongs to.
    pub(super) fn span(&self, row: usize) -> &Span {
        let at = self.spans.partition_point(|span| span.first_row + span.n_row <= row);
        &self.spans[at]
    }

    /// Row-wise work: `body(row)` for rows below `n_row`, a few to a chunk; then, on one worker, `at_end`.
    pub(super) fn each_row(
        &self,
        member: &mut Member<'_>,
        n_row: usize,
        mut body: impl FnMut(usize),
        at_end: impl Fn(),
    ) -> Result<(), Cancelled> {
        let body =
            |chunk: usize| (chunk * ROWS_PER_CHUNK..((chunk + 1) * ROWS_PER_CHUNK).min(n_row)).for_each(&mut body);
        member.phase_then(n_row.div_ceil(ROWS_PER_CHUNK), body, at_end)
    }

    /// Whether a pass of that many rows waits for memory more than for the processor: then weights are read in long runs.
    pub(super) fn is_streaming(n_row: usize) -> bool {
        n_row <= ROWS_PER_CHUNK
    }

    /// The chunks of a product of `n` equal pieces, of `bytes` of weights each, with `n_row` rows.
    pub(super) fn shares(&self, n: usize, bytes: usize, n_row: usize) -> Shares {
        Shares::new(n, self.platform.n_worker(), LEAST_WORK / (bytes * n_row).max(1))
    }

    /// Products of several matrices with the same rows, in one phase. Each output has its own rows, `stride` apart. Then, on one
    /// worker, `at_end`.
    pub(super) fn products<const N: usize>(
        &self,
        member: &mut Member<'_>,
        x: &Activations,
        outputs: [(&Matrix, *mut f32, usize); N],
        at_end: impl Fn(),
    ) -> Result<(), Cancelled> {
        let n_panel: usize = outputs.iter().map(|(matrix, ..)| matrix.n_panel()).sum();
        let shares = self.shares(n_panel, outputs[0].0.bytes_panel(), x.n_row);
        let group = row_group(x.n_block);
        let body = |chunk| {
            let Range { start: mut first, end: mut last } = shares.range(chunk);
            for &(matrix, out, stride) in &outputs {
                let panels = first.min(matrix.n_panel())..last.min(matrix.n_panel());
                for start in (0..x.n_row).step_by(group) {
                    let end = (start + group).min(x.n_row);
                    // SAFETY: `out` has rows of `stride` ≥ the matrix's outputs; each panel is in one chunk.
                    unsafe {
                        let out = out.add(start * stride + panels.start * LANES);
                        matrix.multiply(self.kernels, panels.clone(), x, (start, end), out, stride);
                    }
                }
                first = first.saturating_sub(matrix.n_panel());
                last = last.saturating_sub(matrix.n_panel());
            }
        };
        member.phase_then(shares.n_chunk(), body, at_end)
    }

    /// Embedding rows and rotation angles of the rows of a wave.
    fn embed(&self, member: &mut Member<'_>, wave: &Wave) -> Result<(), Cancelled> {
        let (n_embd, stride) = (self.config.n_embd, self.work.embd_stride);
        let body = |i| {
            let row = wave.first_row + i;
            let span = self.span(row);
            // SAFETY: each row is in one chunk, and the buffers have room for the rows of a pass. The GGUF bytes of a row are
            // at most 4 for each column: the row at position 1 is room for them, and not in use yet.
            unsafe {
                if !self.is_embedded {
                    let embedding = self.weights.token_embd().expect("in memory, or the rows would be embedded");
                    let bytes = embedding.format.bytes_row(n_embd).expect("checked in the layout");
                    let room = self.stream.at(1).add(row * stride).cast::<u8>();
                    let h = core::slice::from_raw_parts_mut(self.stream.at(0).add(row * stride), n_embd);
                    embedding.row(self.tokens[row] as usize, core::slice::from_raw_parts_mut(room, bytes), h);
                }
                let n_pair = self.rope.n_pair();
                let pos = span.first_pos + (row - span.first_row);
                self.rope.write(pos, self.work.cos.add(row * n_pair), self.work.sin.add(row * n_pair));
            }
        };
        self.each_row(member, wave.n_row, body, || self.clock.skip(self.platform.now_us()))
    }

    /// Completes row `row` of the residual stream at `position`, and norms it by `w` and quantises it into `normed` row `to`.
    ///
    /// # Safety
    ///
    /// The caller's chunk alone uses these rows; the position has been written, and so has the one before it.
    pub(super) unsafe fn norm_row(&self, row: usize, position: usize, w: *const f32, to: usize, normed: &Activations) {
        let (n_embd, stride) = (self.config.n_embd, self.work.embd_stride);
        // SAFETY: the caller's duty; rows and columns are within the buffers.
        unsafe {
            let h = self.stream.at(position).add(row * stride);
            if position > 0 {
                (self.kernels.add)(h, self.stream.at(position - 1).add(row * stride), n_embd);
            }
            let x = normed.x.add(to * normed.n_block * crate::arithmetic::BLOCK);
            (self.kernels.rms_norm)(h, w, n_embd, self.config.rms_eps, x);
            (self.kernels.quantize)(normed, to, 0, normed.n_block);
        }
    }

    /// Logits of some of the rows that get them, from row `first` of the logits on.
    fn output(&self, member: &mut Member<'_>, rows: &[u32], first: usize) -> Result<(), Cancelled> {
        let normed = self.view(&self.work.normed, rows.len());
        let position = 2 * self.config.n_layer;
        self.each_row(
            member,
            rows.len(),
            |i| {
                // SAFETY: each logit row is in one chunk, and no two are the same row.
                unsafe { self.norm_row(rows[i] as usize, position, self.weights.output_norm(), i, &normed) }
            },
            || (),
        )?;
        // SAFETY: there is room for all logit rows.
        let logits = unsafe { self.logits.add(first * self.config.n_vocab) };
        self.products(member, &normed, [(&self.weights.output(), logits, self.config.n_vocab)], || {
            self.clock.note_output(self.platform.now_us());
        })
    }

    /// What ends a part of a layer: a note of the time since the last one.
    pub(super) fn note(&self, layer: usize, part: Part) -> impl Fn() {
        move || self.clock.note(layer, part, self.platform.now_us())
    }
}
