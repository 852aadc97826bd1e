//! Where the time goes: per layer and part, in microseconds, as worker 0 sees it.

use crate::platform::Platform;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

/// A part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Norms and what they read and quantise.
    Rms,
    /// q, k, v, rotation, attention, output projection.
    Attention,
    /// Gate and up projections, with the gate itself.
    FfnProjection,
    /// Down projection.
    FfnDown,
}

/// Microseconds of a layer, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerTimes {
    /// Norms.
    pub rms_us: u64,
    /// Attention with its projections.
    pub attn_us: u64,
    /// Gate and up.
    pub ffn_proj_us: u64,
    /// Down.
    pub ffn_down_us: u64,
}

impl LayerTimes {
    /// The whole layer.
    pub fn layer_us(&self) -> u64 {
        self.rms_us + self.attn_us + self.ffn_proj_us + self.ffn_down_us
    }
}

/// Times and counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// Passes over the weights.
    pub n_pass: u64,
    /// Tokens they computed.
    pub n_token: u64,
    /// All passes.
    pub pass_us: u64,
    /// Final norm and output head.
    pub output_us: u64,
    /// Sums for each layer.
    pub layers: Vec<LayerTimes>,
}

impl Telemetry {
    /// Zeros for a model of `n_layer` layers.
    pub fn new(n_layer: usize) -> Telemetry {
        Telemetry { layers: vec![LayerTimes::default(); n_layer], ..Telemetry::default() }
    }
}

/// Adds the time since the last note to a part. Used by one thread: the one that made it.
pub struct LayerClock<'a> {
    platform: &'a dyn Platform,
    state: RefCell<(u64, &'a mut Telemetry)>,
}

impl<'a> LayerClock<'a> {
    /// Starts now.
    pub fn new(platform: &'a dyn Platform, telemetry: &'a mut Telemetry) -> LayerClock<'a> {
        LayerClock { platform, state: RefCell::new((platform.now_us(), telemetry)) }
    }

    /// The time since the last note was spent on `part` of `layer`.
    pub fn note(&self, layer: usize, part: Part) {
        let mut state = self.state.borrow_mut();
        let us = self.lap(&mut state.0);
        let times = &mut state.1.layers[layer];
        *match part {
            Part::Rms => &mut times.rms_us,
            Part::Attention => &mut times.attn_us,
            Part::FfnProjection => &mut times.ffn_proj_us,
            Part::FfnDown => &mut times.ffn_down_us,
        } += us;
    }

    /// The time since the last note was spent on the output head.
    pub fn output(&self) {
        let mut state = self.state.borrow_mut();
        let us = self.lap(&mut state.0);
        state.1.output_us += us;
    }

    fn lap(&self, since: &mut u64) -> u64 {
        let now = self.platform.now_us();
        let us = now - *since;
        *since = now;
        us
    }
}
