//! `Engine`: a model in memory, its sequences, and `forward`, which appends to them.

mod parts;
mod rows;

pub use self::parts::RegionBytes;

use self::parts::Parts;
use self::rows::PassRows;
use crate::arithmetic::portable::sqrt_f32;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::kernels::Kernels;
use crate::memory::{ActivationPool, KVCachePool, KVFormat, TensorRegion, Work};
use crate::model::{
    Boundary, EXTENT_ALIGN, MemoryPlan, ModelLayout, Pass, Progress, Rope, TensorSource, WeightImage, WeightStore,
    rows_per_item,
};
use crate::platform::Platform;
use crate::schedule::{LayerLock, Phases, Served};
use crate::telemetry::{LayerClock, Ledger, Telemetry};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What an engine is opened for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most positions of a sequence.
    pub n_ctx: usize,
    /// Most sequences at a time.
    pub n_seq_max: usize,
    /// Most rows (tokens) of one pass over the weights; a larger batch takes several.
    pub rows_per_pass: usize,
    /// Type of keys and values.
    pub kv: KVFormat,
}

/// Tokens to append to a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The sequence.
    pub seq: usize,
    /// Its new tokens.
    pub tokens: &'a [u32],
    /// How many of the new positions, the last ones, get logits.
    pub n_logit: usize,
}

/// Where the weights of an engine come from.
pub enum WeightSource<'a> {
    /// From the tensors of a GGUF: packed, and all in memory.
    Tensors(&'a [TensorSource<'a>]),
    /// From an image: what the plan pins is read now, the rest as layers need it.
    Image {
        /// Where its tensors lie.
        layout: &'a ModelLayout,
        /// What is pinned.
        plan: MemoryPlan,
        /// The device.
        image: WeightImage,
    },
}

/// A model in memory.
pub struct Engine {
    config: ModelConfig,
    store: WeightStore,
    /// For each layer.
    is_streamed: Vec<bool>,
    activations: ActivationPool,
    lock: Arc<LayerLock>,
    rope: Rope,
    attention_scale: f32,
    cache: KVCachePool,
    work: Work,
    kernels: &'static Kernels,
    platform: Box<dyn Platform>,
    phases: Phases,
    telemetry: Telemetry,
    clock: LayerClock,
    bytes: RegionBytes,
    rows_per_pass: usize,
    pass: PassRows,
}

/// The largest number of positions, sequences or rows.
const COUNT_MAX: usize = 1 << 30;

fn check_options(config: &ModelConfig, options: &Options) -> Result<(), Error> {
    config.check()?;
    let counts = [("n_ctx", options.n_ctx), ("n_seq_max", options.n_seq_max), ("rows_per_pass", options.rows_per_pass)];
    for (name, got) in counts {
        if got == 0 || got > COUNT_MAX {
            return Err(Error::Count { name, got, most: COUNT_MAX });
        }
    }
    Ok(())
}

impl Engine {
    /// Loads a model. `memory(n)` gives `n` zeroed bytes, aligned to 4096, that outlive the engine and are its own; it is
    /// called once. `progress(done, total)` counts the bytes of weights loaded, on the calling thread, and stops the load with
    /// `false`.
    ///
    /// # Errors
    ///
    /// What is wrong with configuration or tensors, what keeps them from being read, [`Error::Cancelled`], and what `memory`
    /// says.
    ///
    /// # Safety
    ///
    /// `memory` keeps what it promises, and `kernels` runs on this processor.
    pub unsafe fn new(
        config: ModelConfig,
        source: WeightSource<'_>,
        options: Options,
        kernels: &'static Kernels,
        platform: Box<dyn Platform>,
        memory: impl FnOnce(usize) -> Result<NonNull<u8>, Error>,
        progress: Progress<'_>,
    ) -> Result<Engine, Error> {
        check_options(&config, &options)?;
        let (layout, plan) = match &source {
            WeightSource::Tensors(tensors) => {
                let shapes: Vec<_> = tensors.iter().map(TensorSource::shape).collect();
                let layout = ModelLayout::new(&config, &shapes)?;
                let plan = MemoryPlan::resident(&layout);
                (layout, plan)
            }
            WeightSource::Image { layout, plan, .. } => ((*layout).clone(), plan.clone()),
        };
        let n_worker = platform.n_worker();
        let carve = |region: &mut TensorRegion| Parts::carve(region, &config, &layout, &plan, &options, n_worker);
        let mut measure = TensorRegion::measure();
        carve(&mut measure)?;
        // SAFETY: the caller's duty: zeroed, aligned, the engine's own.
        let mut region = unsafe { TensorRegion::new(memory(measure.used())?, measure.used()) };
        let Parts { mut store, cache, activations, work, bytes } = carve(&mut region)?;
        // SAFETY: carved from real memory, for this.
        unsafe {
            match source {
                WeightSource::Tensors(tensors) => store.pack(tensors, &*platform, progress)?,
                WeightSource::Image { image, .. } => store.load(image, &*platform, progress)?,
            }
        }
        // SAFETY: the output is pinned, and has been loaded.
        let rope = Rope::new(&config, unsafe { store.weights().rope_freqs(&config) });
        if options.n_ctx > rope.n_position_max() {
            return Err(Error::Count { name: "n_ctx", got: options.n_ctx, most: rope.n_position_max() });
        }
        Ok(Engine {
            rope,
            attention_scale: 1.0 / sqrt_f32(config.head_dim as f32),
            telemetry: Telemetry::new(config.n_layer),
            clock: LayerClock::new(config.n_layer),
            is_streamed: (0..config.n_layer).map(|layer| store.is_streamed(layer)).collect(),
            config,
            store,
            activations,
            lock: Arc::new(LayerLock::new()),
            cache,
            work,
            kernels,
            platform,
            phases: Phases::new(),
            bytes,
            pass: PassRows::new(options.rows_per_pass),
            rows_per_pass: options.rows_per_pass,
        })
    }

    /// Bytes of an engine's region that do not hold weights.
    ///
    /// # Errors
    ///
    /// [`Error::Count`] for options that cannot be, [`Error::Region`] for sizes that no memory has.
    pub fn bytes_besides_weights(config: &ModelConfig, options: &Options, n_worker: usize) -> Result<usize, Error> {
        check_options(config, options)?;
        let mut region = TensorRegion::measure();
        KVCachePool::carve(&mut region, config, options.n_ctx, options.n_seq_max, options.kv)?;
        let work = Work::carve(&mut region, config, n_worker, options.rows_per_pass)?;
        ActivationPool::carve(&mut region, options.rows_per_pass, work.embd_stride)?;
        // A page before the first slot, at most.
        Ok(region.used() + EXTENT_ALIGN)
    }

    /// What holds ticks back while a layer runs.
    pub fn lock(&self) -> &Arc<LayerLock> {
        &self.lock
    }

    /// The weights: what is pinned, and what streaming has done.
    pub fn store(&self) -> &WeightStore {
        &self.store
    }

    /// The sequences: open, close, fork, rewind, save, load.
    pub fn sequences(&mut self) -> &mut KVCachePool {
        &mut self.cache
    }

    /// The model's shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The most rows of a pass; more tokens are computed in several.
    pub fn rows_per_pass(&self) -> usize {
        self.rows_per_pass
    }

    /// The table in use.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The machine.
    pub fn platform(&self) -> &dyn Platform {
        &*self.platform
    }

    /// Sizes of the region's parts.
    pub fn bytes(&self) -> RegionBytes {
        self.bytes
    }

    /// Bytes of the slabs that sequences hold.
    pub fn bytes_kv_held(&self) -> usize {
        self.cache.bytes_held()
    }

    /// Times and counts since the start.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Times and counts, to take records from.
    pub fn telemetry_mut(&mut self) -> &mut Telemetry {
        &mut self.telemetry
    }

    /// Appends each list of tokens to its sequence, all in the same passes; writes logits f32 `[Σ n_logit, n_vocab]`, in the
    /// order of the batch. The bits of a row do not depend on what else is in the batch, nor on how a prompt is cut up.
    /// `stop` is asked at layer boundaries, with the ticks that came since the last. Allocates nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the batch, [`Error::NotFinite`], [`Error::Cancelled`]. Every sequence then has the positions it had.
    pub fn forward(
        &mut self,
        batch: &[Append<'_>],
        out: &mut [f32],
        stop: &dyn Fn(Served) -> bool,
    ) -> Result<(), Error> {
        let expected = self.n_logit_value(batch)?;
        if out.len() != expected {
            return Err(Error::OutputSize { expected, got: out.len() });
        }
        for append in batch {
            // What can be wrong with it has been ruled out: none fails after another has been made.
            self.cache.reserve(append.seq, append.tokens.len())?;
        }
        let result = self.passes(batch, out, stop);
        for append in batch {
            match result {
                Ok(()) => self.cache.commit(append.seq, append.tokens.len()),
                Err(_) => self.cache.abandon(append.seq),
            }
        }
        result
    }

    /// The logits that a batch gets, in values: room for them is `out` of [`Engine::forward`].
    ///
    /// # Errors
    ///
    /// What is wrong with the batch.
    pub fn n_logit_value(&self, batch: &[Append<'_>]) -> Result<usize, Error> {
        let mut n_row = 0usize;
        for (i, &Append { seq, tokens, n_logit: n }) in batch.iter().enumerate() {
            self.cache.len(seq)?;
            if batch[..i].iter().any(|other| other.seq == seq) {
                return Err(Error::SequenceTwice { seq });
            }
            if tokens.is_empty() {
                return Err(Error::NoTokens { seq });
            }
            if let Some(&token) = tokens.iter().find(|token| **token as usize >= self.config.n_vocab) {
                return Err(Error::Token { seq, token, n_vocab: self.config.n_vocab });
            }
            if n > tokens.len() {
                return Err(Error::LogitRows { seq, n_token: tokens.len(), n_logit: n });
            }
            n_row += n;
        }
        for append in batch {
            self.cache.len_after(append.seq, append.tokens.len())?;
        }
        Ok(n_row.saturating_mul(self.config.n_vocab))
    }

    /// The batch in passes of up to `rows_per_pass` rows.
    fn passes(&mut self, batch: &[Append<'_>], out: &mut [f32], stop: &dyn Fn(Served) -> bool) -> Result<(), Error> {
        let mut out = out;
        let rows_per_piece = rows_per_item(self.config.n_head / self.config.n_head_kv);
        self.pass.clear();
        for (i, &Append { seq, tokens, n_logit }) in batch.iter().enumerate() {
            let n_pos = self.cache.len(seq)?;
            let mut taken = 0;
            while taken < tokens.len() {
                let n_row = (tokens.len() - taken).min(self.rows_per_pass - self.pass.tokens.len());
                self.pass.push(seq, n_pos + taken, &tokens[taken..taken + n_row], rows_per_piece);
                taken += n_row;
                let end = self.pass.tokens.len();
                // Of these rows, those among the last `n_logit` of the sequence.
                let n_here = n_logit.saturating_sub(tokens.len() - taken).min(n_row);
                self.pass.logit_rows.extend((end - n_here) as u32..end as u32);
                if end == self.rows_per_pass || (taken == tokens.len() && i + 1 == batch.len()) {
                    let (now, later) = out.split_at_mut(self.pass.logit_rows.len() * self.config.n_vocab);
                    self.one_pass(now, stop)?;
                    self.pass.clear();
                    out = later;
                }
            }
        }
        Ok(())
    }

    fn one_pass(&mut self, logits: &mut [f32], stop: &dyn Fn(Served) -> bool) -> Result<(), Error> {
        let platform = &*self.platform;
        let start = platform.now_us();
        self.phases.reset();
        let slots = self.activations.slots();
        self.clock.begin(start);
        let clock = &self.clock;
        // SAFETY: position 1 is not in use before the pass, and a row of GGUF is at most 4 bytes for each column.
        let is_embedded = unsafe {
            let bytes = self.store.weights().layout().token_embd.format.bytes_row(self.config.n_embd);
            let room = core::slice::from_raw_parts_mut(slots.at(1).cast(), bytes.expect("checked in the layout"));
            let now_us = || platform.now_us();
            self.store.read_embedding(&self.pass.tokens, room, slots.at(0), self.work.embd_stride, &now_us)?
        };
        if is_embedded {
            clock.embedded(platform.now_us());
        }
        let weights = self.store.shared();
        let boundary = RefCell::new(Boundary::new(
            platform,
            &self.lock,
            &mut self.store,
            &mut self.activations,
            &self.phases,
            Ledger::begin_pass(clock, &mut self.telemetry, self.pass.tokens.len()),
            stop,
        ));
        let pass = Pass {
            config: &self.config,
            weights: &weights,
            rope: &self.rope,
            attention_scale: self.attention_scale,
            cache: &self.cache,
            work: &self.work,
            kernels: self.kernels,
            platform,
            phases: &self.phases,
            tokens: &self.pass.tokens,
            spans: &self.pass.spans,
            pieces: &self.pass.pieces,
            waves: &self.pass.waves,
            logit_rows: &self.pass.logit_rows,
            logits: logits.as_mut_ptr(),
            is_streamed: &self.is_streamed,
            is_embedded,
            stream: slots,
            boundary: &boundary,
            clock,
        };
        let cancelled = AtomicBool::new(false);
        platform.run(&|worker| {
            if pass.run(worker).is_err() {
                cancelled.store(true, Relaxed);
            }
        });
        boundary.borrow_mut().finish()?;
        if cancelled.into_inner() {
            return Err(Error::Cancelled);
        }
        boundary.borrow_mut().ledger.end_pass(platform.now_us() - start);
        self.check_finite(logits)
    }

    /// A row that is not finite is an error, never a token.
    fn check_finite(&self, logits: &[f32]) -> Result<(), Error> {
        let infinite = |x: &f32| x.to_bits() & 0x7F80_0000 == 0x7F80_0000;
        for (row, logits) in self.pass.logit_rows.iter().zip(logits.chunks_exact(self.config.n_vocab)) {
            // Without a branch in the loop, so that it becomes vector code.
            if logits.iter().fold(false, |any, x| any | infinite(x)) {
                let row = *row as usize;
                let span = self.pass.spans.iter().find(|s| row < s.first_row + s.n_row).expect("rows are in spans");
                return Err(Error::NotFinite { seq: span.seq, pos: span.first_pos + row - span.first_row });
            }
        }
        Ok(())
    }
}
