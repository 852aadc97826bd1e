//! `Boundary`: what happens between layers, on worker 0.
//!
//! Before a layer: the lock is acquired, its weights are waited for where they are streamed, and two more positions of the
//! residual stream become live. After it: two positions are done with, the slot of the weights is free for the next load, the
//! lock is released, and the ticks that came inside are served.

use super::store::WeightStore;
use crate::error::Error;
use crate::memory::ActivationPool;
use crate::platform::Platform;
use crate::schedule::{LayerLock, Phases, Served};
use crate::telemetry::{Ledger, Load, Part};

/// Everything that a boundary touches. Used by the thread that made the pass alone.
pub struct Boundary<'a> {
    /// The machine.
    pub platform: &'a dyn Platform,
    /// Of the engine.
    pub lock: &'a LayerLock,
    /// Weights that come and go.
    pub store: &'a mut WeightStore,
    /// Positions of the residual stream.
    pub activations: &'a mut ActivationPool,
    /// Of the pass.
    pub phases: &'a Phases,
    /// Where it is written down.
    pub ledger: Ledger<'a>,
    /// Whether to stop the pass, asked with the ticks that have been served.
    pub stop: &'a dyn Fn(Served) -> bool,
    /// The slot that the open layer computes from, and how its weights came.
    open: Option<(usize, Load)>,
    /// Why the pass ends early.
    error: Option<Error>,
}

impl<'a> Boundary<'a> {
    /// Before the first layer.
    pub fn new(
        platform: &'a dyn Platform,
        lock: &'a LayerLock,
        store: &'a mut WeightStore,
        activations: &'a mut ActivationPool,
        phases: &'a Phases,
        ledger: Ledger<'a>,
        stop: &'a dyn Fn(Served) -> bool,
    ) -> Boundary<'a> {
        Boundary { platform, lock, store, activations, phases, ledger, stop, open: None, error: None }
    }

    /// A pass begins, with its embedding.
    pub fn begin_pass(&mut self) {
        let begun = self.activations.begin(0).map(drop).and_then(|()| self.serve().map(drop));
        self.note(begun);
    }

    /// A layer begins. If it cannot, the pass is cancelled; of one that is to end already, nothing is waited for.
    pub fn begin_layer(&mut self, layer: usize) {
        if self.error.is_some() {
            return;
        }
        let begun = self.try_begin(layer);
        self.note(begun);
    }

    fn try_begin(&mut self, layer: usize) -> Result<(), Error> {
        self.lock.acquire(layer)?;
        self.activations.begin(2 * layer + 1)?;
        self.activations.begin(2 * layer + 2)?;
        let (is_streamed, clock) = (self.store.is_streamed(layer), self.ledger.clock);
        // What lies between layers belongs to none; unless other workers have begun with this one.
        if is_streamed || self.platform.n_worker() == 1 {
            clock.skip(self.platform.now_us());
        }
        if is_streamed {
            self.open = Some(self.store.begin(layer, &|| self.platform.now_us())?);
            clock.note(layer, Part::Stream, self.platform.now_us());
            self.phases.open_gate();
        }
        Ok(())
    }

    /// The layer is done: every chunk of it.
    pub fn end_layer(&mut self, layer: usize) {
        let ended = self.try_end(layer);
        self.note(ended);
    }

    fn try_end(&mut self, layer: usize) -> Result<(), Error> {
        self.activations.end(2 * layer)?;
        self.activations.end(2 * layer + 1)?;
        let load = match self.open.take() {
            Some((slot, load)) => {
                self.store.end(slot, self.platform.now_us())?;
                load
            }
            None => {
                self.store.pump(self.platform.now_us())?;
                Load::default()
            }
        };
        self.lock.release(layer)?;
        let n_deferred = self.serve();
        self.ledger.end_layer(layer, load, *n_deferred.as_ref().unwrap_or(&0));
        n_deferred.map(drop)
    }

    /// The output head is done.
    pub fn end_output(&mut self) {
        self.ledger.end_output();
    }

    /// Serves the ticks that have come; says how many had to wait.
    fn serve(&self) -> Result<u32, Error> {
        let served = self.lock.yield_at_layer_boundary(self.platform.now_us());
        if (self.stop)(served) { Err(Error::Cancelled) } else { Ok(served.n_deferred) }
    }

    fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
            self.phases.cancel();
        }
    }

    /// After the pass, however it ended: lets go of what an unfinished layer holds.
    ///
    /// # Errors
    ///
    /// Why it ended early.
    pub fn finish(&mut self) -> Result<(), Error> {
        if let Some((slot, _)) = self.open.take() {
            let ended = self.store.end(slot, self.platform.now_us());
            self.note(ended);
        }
        self.lock.abandon();
        self.error.take().map_or(Ok(()), Err)
    }
}
