//! Where the time goes: a record for each layer of each pass, in microseconds, and their sums.

mod layer_clock;

pub use self::layer_clock::LayerClock;

use alloc::vec;
use alloc::vec::Vec;

/// A part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Waiting for the layer's weights.
    Stream,
    /// Norms, and quantising what they give.
    Rms,
    /// q, k, v, rotation, attention, output projection.
    Attention,
    /// Gate and up projections.
    FfnProjection,
    /// The gate itself.
    FfnActivation,
    /// Down projection.
    FfnDown,
}

impl Part {
    /// Parts of a layer.
    const N: usize = Part::FfnDown as usize + 1;
}

/// Microseconds of a layer, by part; they add up to the layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTimes {
    /// Waiting for weights: what streaming costs beyond computing. In the first layer with the wait for rows of the embedding,
    /// before the layer began, where it is not in memory.
    pub stream_us: u64,
    /// Norms.
    pub rms_us: u64,
    /// Attention with its projections.
    pub attn_us: u64,
    /// Gate and up.
    pub ffn_proj_us: u64,
    /// The gate itself, silu(gate) × up, and quantising it: a worker's share, from a sample, within the time of gate and up.
    pub ffn_act_us: u64,
    /// Down.
    pub ffn_down_us: u64,
}

impl LayerTimes {
    /// The whole layer.
    pub fn layer_us(&self) -> u64 {
        self.stream_us + self.rms_us + self.attn_us + self.ffn_proj_us + self.ffn_act_us + self.ffn_down_us
    }

    fn add(&mut self, other: &LayerTimes) {
        self.stream_us += other.stream_us;
        self.rms_us += other.rms_us;
        self.attn_us += other.attn_us;
        self.ffn_proj_us += other.ffn_proj_us;
        self.ffn_act_us += other.ffn_act_us;
        self.ffn_down_us += other.ffn_down_us;
    }
}

/// The latest reading of a layer's weights from a disk; zeros where they are resident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// When its first request was sent.
    pub start_us: u64,
    /// When its last byte had come.
    pub end_us: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// One layer of one pass. The output head counts as a layer after the last, with its time in `output_us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerRecord {
    /// Number of the pass, from 0.
    pub pass: u64,
    /// The layer.
    pub layer: u32,
    /// Tokens (rows) of the pass.
    pub n_token: u32,
    /// When the layer began.
    pub start_us: u64,
    /// Its parts.
    pub times: LayerTimes,
    /// Final norm and output head.
    pub output_us: u64,
    /// Where its weights came from.
    pub load: Load,
    /// Ticks that waited for its boundary.
    pub n_deferred: u32,
}

impl LayerRecord {
    /// Numbers of [`LayerRecord::values`].
    pub const N_VALUE: usize = 16;

    /// The record as a row of numbers: pass, layer, tokens and start; the times of its parts, of the output and of all; when its
    /// load began and ended, and its bytes; ticks that waited.
    pub fn values(&self) -> [u64; Self::N_VALUE] {
        let t = &self.times;
        [
            self.pass,
            u64::from(self.layer),
            u64::from(self.n_token),
            self.start_us,
            t.stream_us,
            t.rms_us,
            t.attn_us,
            t.ffn_proj_us,
            t.ffn_act_us,
            t.ffn_down_us,
            self.output_us,
            t.layer_us() + self.output_us,
            self.load.start_us,
            self.load.end_us,
            self.load.bytes,
            u64::from(self.n_deferred),
        ]
    }
}

/// The latest records. Room for them is made once; when it is full, the oldest is lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Records {
    ring: Vec<LayerRecord>,
    /// Records so far, those lost and taken among them.
    n_written: usize,
    n_taken: usize,
}

impl Records {
    /// Records that are kept until they are taken: more than a hundred tokens of a model of 32 layers.
    pub const CAPACITY: usize = 4096;

    fn new() -> Records {
        Records { ring: Vec::with_capacity(Self::CAPACITY), n_written: 0, n_taken: 0 }
    }

    fn push(&mut self, record: LayerRecord) {
        let at = self.n_written % Self::CAPACITY;
        if at < self.ring.len() {
            self.ring[at] = record;
        } else {
            self.ring.push(record);
        }
        self.n_written += 1;
    }

    /// Takes the records since the last call, oldest first, and says how many before them were lost.
    pub fn take(&mut self) -> (impl ExactSizeIterator<Item = &LayerRecord>, usize) {
        let oldest = self.n_written.saturating_sub(Self::CAPACITY);
        let first = self.n_taken.max(oldest);
        let n_lost = first - self.n_taken;
        self.n_taken = self.n_written;
        ((first..self.n_written).map(|i| &self.ring[i % Self::CAPACITY]), n_lost)
    }
}

/// Times and counts since the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Passes over the weights that came to their end.
    pub n_pass: u64,
    /// Passes that were begun: what numbers the records.
    n_begun: u64,
    /// Tokens they computed.
    pub n_token: u64,
    /// All passes.
    pub pass_us: u64,
    /// Final norm and output head.
    pub output_us: u64,
    /// Sums for each layer.
    pub layers: Vec<LayerTimes>,
    /// The latest layers, one by one.
    pub records: Records,
}

impl Telemetry {
    /// Zeros for a model of `n_layer` layers.
    pub fn new(n_layer: usize) -> Telemetry {
        Telemetry {
            n_pass: 0,
            n_begun: 0,
            n_token: 0,
            pass_us: 0,
            output_us: 0,
            layers: vec![LayerTimes::default(); n_layer],
            records: Records::new(),
        }
    }
}

/// Where the pass under way is written down. Used by one thread: the one that made it.
pub struct Ledger<'a> {
    /// Where its time goes.
    pub clock: &'a LayerClock,
    telemetry: &'a mut Telemetry,
    pass: u64,
    n_token: usize,
}

impl<'a> Ledger<'a> {
    /// A pass of `n_token` tokens begins, whose time goes where `clock` says. It has the next number, even if it is stopped.
    pub fn begin_pass(clock: &'a LayerClock, telemetry: &'a mut Telemetry, n_token: usize) -> Ledger<'a> {
        let pass = telemetry.n_begun;
        telemetry.n_begun += 1;
        Ledger { clock, telemetry, pass, n_token }
    }

    fn record(&self, layer: usize, start_us: u64) -> LayerRecord {
        let (layer, n_token) = (layer as u32, self.n_token as u32);
        LayerRecord { pass: self.pass, layer, n_token, start_us, ..LayerRecord::default() }
    }

    /// A layer has ended: its weights came by `load`, and `n_deferred` ticks waited for its end.
    pub fn end_layer(&mut self, layer: usize, load: Load, n_deferred: u32) {
        let (start_us, times) = self.clock.layer(layer);
        self.telemetry.layers[layer].add(&times);
        let record = LayerRecord { times, load, n_deferred, ..self.record(layer, start_us) };
        self.telemetry.records.push(record);
    }

    /// The output head has ended.
    pub fn end_output(&mut self) {
        let (start_us, output_us) = self.clock.output();
        self.telemetry.output_us += output_us;
        let record = LayerRecord { output_us, ..self.record(self.telemetry.layers.len(), start_us) };
        self.telemetry.records.push(record);
    }

    /// The pass has ended.
    pub fn end_pass(&mut self, pass_us: u64) {
        self.telemetry.n_pass += 1;
        self.telemetry.n_token += self.n_token as u64;
        self.telemetry.pass_us += pass_us;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_was_stopped_keeps_its_number() {
        let (clock, mut telemetry) = (LayerClock::new(1), Telemetry::new(1));
        Ledger::begin_pass(&clock, &mut telemetry, 1).end_layer(0, Load::default(), 0);
        let mut ledger = Ledger::begin_pass(&clock, &mut telemetry, 1);
        ledger.end_layer(0, Load::default(), 0);
        ledger.end_pass(1);
        let (records, _) = telemetry.records.take();
        assert_eq!(records.map(|record| record.pass).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(telemetry.n_pass, 1);
    }
}
