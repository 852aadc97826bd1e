//! `LayerLock`: a layer runs from start to end; ticks that arrive inside wait for its boundary.
//!
//! A tick is a reason to look up: the clock of a timer thread or of a timer interrupt. It only counts, so that it may come at
//! any moment and on any core. [`LayerLock::yield_at_layer_boundary`] serves what has come: there the engine looks for
//! cancellation, deadlines and signals. How long a tick has waited at most is the price, and is measured.

use crate::error::Error;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// The lock of one engine. The thread of worker 0 acquires and releases it; ticks come from anywhere.
#[derive(Debug, Default)]
pub struct LayerLock {
    /// The layer that is held, plus 1; 0 for none.
    held: AtomicU32,
    /// Ticks that have not been served; those that came inside a layer.
    n_waiting: AtomicU32,
    n_deferred: AtomicU32,
    /// When the first deferred one came, plus 1; 0 for none.
    first_us: AtomicU64,
    longest_us: AtomicU64,
    n_deferred_ever: AtomicU64,
}

/// What had come when a boundary was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Ticks since the boundary before.
    pub n_tick: u32,
    /// Those of them that came inside a layer and waited.
    pub n_deferred: u32,
    /// How long the first of these waited.
    pub waited_us: u64,
}

impl LayerLock {
    /// Held by no layer.
    pub const fn new() -> LayerLock {
        LayerLock {
            held: AtomicU32::new(0),
            n_waiting: AtomicU32::new(0),
            n_deferred: AtomicU32::new(0),
            first_us: AtomicU64::new(0),
            longest_us: AtomicU64::new(0),
            n_deferred_ever: AtomicU64::new(0),
        }
    }

    /// A layer starts.
    ///
    /// # Errors
    ///
    /// [`Error::LayerLock`] if one is held.
    pub fn acquire(&self, layer: usize) -> Result<(), Error> {
        if let Some(held) = self.held() {
            return Err(Error::LayerLock { request: "acquire", layer, held: Some(held) });
        }
        self.held.store(layer as u32 + 1, SeqCst);
        Ok(())
    }

    /// The layer ends.
    ///
    /// # Errors
    ///
    /// [`Error::LayerLock`] if it is not the one that is held.
    pub fn release(&self, layer: usize) -> Result<(), Error> {
        let held = self.held();
        if held != Some(layer) {
            return Err(Error::LayerLock { request: "release", layer, held });
        }
        self.held.store(0, SeqCst);
        Ok(())
    }

    /// Whatever is held is held no more: the pass has ended in the middle.
    pub fn abandon(&self) {
        self.held.store(0, SeqCst);
    }

    /// The layer that is held.
    pub fn held(&self) -> Option<usize> {
        (self.held.load(SeqCst) as usize).checked_sub(1)
    }

    /// A tick: counted, and deferred if a layer is held. From any thread, or an interrupt.
    pub fn tick(&self, now_us: u64) {
        if self.held.load(SeqCst) != 0 {
            let _ = self.first_us.compare_exchange(0, now_us + 1, SeqCst, SeqCst);
            self.n_deferred.fetch_add(1, SeqCst);
        }
        self.n_waiting.fetch_add(1, SeqCst);
    }

    /// Serves the ticks that have come. Between layers only: while one is held, none is served.
    pub fn yield_at_layer_boundary(&self, now_us: u64) -> Served {
        if self.held().is_some() || self.n_waiting.load(SeqCst) == 0 {
            return Served::default();
        }
        let n_tick = self.n_waiting.swap(0, SeqCst);
        let n_deferred = self.n_deferred.swap(0, SeqCst);
        let first_us = self.first_us.swap(0, SeqCst);
        let waited_us = if first_us == 0 { 0 } else { now_us.saturating_sub(first_us - 1) };
        self.longest_us.fetch_max(waited_us, SeqCst);
        self.n_deferred_ever.fetch_add(u64::from(n_deferred), SeqCst);
        Served { n_tick, n_deferred, waited_us }
    }

    /// Ticks that have not been served.
    pub fn n_waiting(&self) -> u32 {
        self.n_waiting.load(SeqCst)
    }

    /// The longest that a tick has waited for a boundary.
    pub fn longest_deferral_us(&self) -> u64 {
        self.longest_us.load(SeqCst)
    }

    /// Ticks that have waited for a boundary so far.
    pub fn n_deferred(&self) -> u64 {
        self.n_deferred_ever.load(SeqCst)
    }
}
