//! [`LayerClock`]: where the time of a pass goes, noted by whoever ends a phase.
//!
//! A worker that the machine keeps from running skips the phases that went by without it, so no single worker can say when a
//! phase ended. The one that finishes a phase's last chunk can: until it opens the next phase nobody else is in one. So the
//! notes come one after the other, each on some worker; the counters are atomic because the workers change, not because two
//! of them count at once.

use super::{LayerTimes, Part};
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

/// The clock of the pass that is under way.
pub struct LayerClock {
    /// The last note.
    since_us: AtomicU64,
    /// What all workers spent on the gate in the open phase.
    act_us: AtomicU64,
    /// When the output head began, and how long it took.
    output: [AtomicU64; 2],
    layers: Vec<Laps>,
}

#[derive(Default)]
struct Laps {
    /// 0 until the layer has its first note.
    start_us: AtomicU64,
    parts: [AtomicU64; Part::N],
}

impl Laps {
    fn add(&self, part: Part, us: u64) {
        self.parts[part as usize].fetch_add(us, Relaxed);
    }
}

impl LayerClock {
    /// For a model of `n_layer` layers.
    pub fn new(n_layer: usize) -> LayerClock {
        LayerClock {
            since_us: AtomicU64::new(0),
            act_us: AtomicU64::new(0),
            output: Default::default(),
            layers: (0..n_layer).map(|_| Laps::default()).collect(),
        }
    }

    /// A pass begins.
    pub fn begin(&mut self, now_us: u64) {
        self.since_us = AtomicU64::new(now_us);
        self.act_us = AtomicU64::new(0);
        self.output = Default::default();
        self.layers.fill_with(Laps::default);
    }

    fn lap(&self, now_us: u64) -> (u64, u64) {
        let since_us = self.since_us.swap(now_us, Relaxed);
        (since_us, now_us.saturating_sub(since_us))
    }

    /// The time since the last note belongs to no layer.
    pub fn skip(&self, now_us: u64) {
        self.since_us.store(now_us, Relaxed);
    }

    /// The time since the last note was spent on waiting for rows of the embedding: the first layer will have waited for them.
    pub fn embedded(&self, now_us: u64) {
        self.layers[0].add(Part::Stream, self.lap(now_us).1);
    }

    /// The time since the last note was spent on `part` of `layer`.
    pub fn note(&self, layer: usize, part: Part, now_us: u64) {
        let (since_us, us) = self.lap(now_us);
        self.layers[layer].start_us.compare_exchange(0, since_us, Relaxed, Relaxed).ok();
        self.layers[layer].add(part, us);
    }

    /// A worker spent `us` on the gate, in the phase of gate and up.
    pub fn gated(&self, us: u64) {
        self.act_us.fetch_add(us, Relaxed);
    }

    /// As `note(layer, Part::FfnProjection)`, less what each of `n_worker` workers spent on the gate itself.
    pub fn note_gated(&self, layer: usize, n_worker: usize, now_us: u64) {
        let (_, us) = self.lap(now_us);
        let act_us = (self.act_us.swap(0, Relaxed) / n_worker as u64).min(us);
        self.layers[layer].add(Part::FfnActivation, act_us);
        self.layers[layer].add(Part::FfnProjection, us - act_us);
    }

    /// The time since the last note was spent on the output head.
    pub fn note_output(&self, now_us: u64) {
        let (since_us, us) = self.lap(now_us);
        self.output[0].compare_exchange(0, since_us, Relaxed, Relaxed).ok();
        self.output[1].fetch_add(us, Relaxed);
    }

    /// When a layer whose phases have ended began, and where its time went.
    pub fn layer(&self, layer: usize) -> (u64, LayerTimes) {
        let laps = &self.layers[layer];
        let part = |part: Part| laps.parts[part as usize].load(Relaxed);
        let times = LayerTimes {
            stream_us: part(Part::Stream),
            rms_us: part(Part::Rms),
            attn_us: part(Part::Attention),
            ffn_proj_us: part(Part::FfnProjection),
            ffn_act_us: part(Part::FfnActivation),
            ffn_down_us: part(Part::FfnDown),
        };
        (laps.start_us.load(Relaxed), times)
    }

    /// When the output head began, and how long it took.
    pub fn output(&self) -> (u64, u64) {
        (self.output[0].load(Relaxed), self.output[1].load(Relaxed))
    }
}
