//! What is printed of a story besides its text: one line for what was opened, for each layer, for each token, and the sums.

use crate::{clock, line, watchdog};
use axiom_core::runtime::Engine;
use core::fmt::{self, Display};

/// What was opened, and where it is.
pub fn opened(name: &str, engine: &Engine, since_us: u64) {
    let bytes = engine.bytes();
    let n_layer = engine.config().n_layer;
    line!(
        "axiom: {name}: {} MiB of weights, {} KiB of cache, {} KiB of activations; {} of {n_layer} layers stay in memory; \
         {} ms",
        bytes.weights >> 20,
        bytes.kv >> 10,
        bytes.activations >> 10,
        (0..n_layer).filter(|&layer| !engine.store().is_streamed(layer)).count(),
        (clock::now_us() - since_us) / 1000
    );
}

/// The layers since this was last asked: how long their weights were waited for, and how long they computed.
pub fn layers(engine: &mut Engine) {
    let (records, _) = engine.telemetry_mut().records.take();
    for r in records {
        line!(
            "axiom: pass {} layer {} tokens {} stream {} compute {} us, {} bytes",
            r.pass,
            r.layer,
            r.n_token,
            r.times.stream_us,
            r.times.layer_us() - r.times.stream_us + r.output_us,
            r.load.bytes
        );
    }
}

/// A token that was chosen.
pub fn token(token: u32, position: usize, pass_us: u64, sampled_us: u64) {
    line!("axiom: token {token} at {position} pass {pass_us} us, sampled {sampled_us} us, at {} us", clock::now_us());
}

/// Everything, in sum.
pub fn totals(engine: &Engine, n_new: usize, n_prompt: usize, reason: &str, us: u64) {
    let (telemetry, counts, lock) = (engine.telemetry(), engine.store().counts(), engine.lock());
    line!(
        "axiom: {n_new} tokens after {n_prompt} of prompt, {reason}, in {us} us, {} passes of {} us; {} bytes read in {} \
         requests, {} retried, {} stalls",
        telemetry.n_pass,
        telemetry.pass_us,
        counts.bytes_read,
        counts.n_request,
        counts.n_retry,
        counts.n_stall
    );
    for (layer, t) in telemetry.layers.iter().enumerate() {
        line!(
            "axiom: layer {layer} stream {} rms {} attn {} ffn_proj {} ffn_act {} ffn_down {} all {} us",
            t.stream_us,
            t.rms_us,
            t.attn_us,
            t.ffn_proj_us,
            t.ffn_act_us,
            t.ffn_down_us,
            t.layer_us()
        );
    }
    line!(
        "axiom: {} ticks in passes, {} of them waited for the end of a layer, {} us at most",
        watchdog::n_handed_over(),
        lock.n_deferred(),
        lock.longest_deferral_us()
    );
}

/// Bytes as hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
