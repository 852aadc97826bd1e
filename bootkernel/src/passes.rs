//! Passes of an engine on this machine, with its ticks and its watchdog: a layer that never ends is found.

use crate::{clock, progress, watchdog};
use axiom_core::error::Error;
use axiom_core::runtime::{Append, Engine};
use bare::pace::Pace;
use core::cell::Cell;

/// The passes so far.
#[derive(Default)]
pub struct Passes {
    /// How long layers compute, with which the watchdog is set. What they wait for a disk is no part of it: the disk's driver
    /// knows better when that is too long.
    pace: Cell<Pace>,
    /// The longest that a layer took, all in all.
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
        let n_token = appends.iter().map(|append| append.tokens.len()).sum::<usize>();
        let n_row = n_token.clamp(1, engine.rows_per_pass()) as u64;
        let n_layer = engine.config().n_layer;
        let (start_us, since_us) = (Cell::new(clock::now_us()), Cell::new(0));
        // Layers that the pass has done, and 1 for its beginning; many tokens are more than one pass.
        let n_boundary = Cell::new(0);
        let lock = engine.lock().clone();
        let boundary = |_| {
            let (now, computed_us) = (clock::now_us(), watchdog::take_longest_us());
            let layer_us = now - since_us.replace(now);
            let n_done = n_boundary.replace(n_boundary.get() + 1) % (n_layer as u64 + 1);
            if n_done > 0 {
                let mut pace = self.pace.get();
                pace.note(computed_us, n_row);
                self.pace.set(pace);
                self.longest_us.set(self.longest_us.get().max(layer_us));
                progress::layers_done(n_done, self.longest_us.get());
            } else if n_boundary.get() > 1 {
                progress::pass_ends(now - start_us.replace(now));
                progress::pass_begins(n_layer);
            }
            watchdog::arm(self.pace.get().limit_us(n_row));
            stop()
        };
        progress::pass_begins(n_layer);
        watchdog::arm(self.pace.get().limit_us(n_row));
        let result = watchdog::ticking(&lock, || engine.forward(appends, logits, &boundary));
        watchdog::disarm();
        if result.is_ok() {
            progress::pass_ends(clock::now_us() - start_us.get());
        }
        result
    }
}
