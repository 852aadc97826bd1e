//! Passes of an engine on this machine, with its ticks and its watchdog: a layer that never ends is found.

use crate::{clock, progress, watchdog};
use axiom_core::error::Error;
use axiom_core::runtime::{Append, Engine};
use core::cell::Cell;

/// What no layer has been timed for yet may take this long.
const FIRST_LIMIT_US: u64 = 60_000_000;
/// A layer is stuck when it takes this many times the longest so far, for as many tokens, and this long. A disk that does
/// not answer is given up sooner, with an error of its own.
const STUCK_FACTOR: u64 = 50;
const STUCK_US: u64 = 1_600_000;

/// The passes so far.
#[derive(Default)]
pub struct Passes {
    /// The longest that a layer has taken, for each token of its pass.
    longest_us: Cell<u64>,
}

impl Passes {
    /// The engine's `forward`, watched; while it runs, the ticks of [`watchdog::start`] come. `stop` is asked between layers.
    ///
    /// # Errors
    ///
    /// The engine's.
    pub fn forward(
        &self,
        engine: &mut Engine,
        appends: &[Append<'_>],
        logits: &mut [f32],
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let n_token = appends.iter().map(|append| append.tokens.len() as u64).sum::<u64>().max(1);
        let limit_us = || match self.longest_us.get() {
            0 => FIRST_LIMIT_US,
            longest_us => u64::max(STUCK_US, STUCK_FACTOR * longest_us * n_token),
        };
        let start_us = clock::now_us();
        let since_us = Cell::new(start_us);
        let n_done = Cell::new(0);
        let lock = engine.lock().clone();
        let boundary = |_| {
            let now = clock::now_us();
            let layer_us = now - since_us.replace(now);
            // The first boundary is before the first layer.
            if n_done.get() > 0 {
                self.longest_us.set(self.longest_us.get().max(layer_us.div_ceil(n_token)));
                progress::layers_done(n_done.get(), self.longest_us.get());
            }
            n_done.set(n_done.get() + 1);
            watchdog::arm(limit_us());
            stop()
        };
        progress::pass_begins(engine.config().n_layer);
        watchdog::arm(limit_us());
        let result = watchdog::ticking(&lock, || engine.forward(appends, logits, &boundary));
        watchdog::disarm();
        if result.is_ok() {
            progress::pass_ends(clock::now_us() - start_us);
        }
        result
    }
}
