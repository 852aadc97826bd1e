//! [`Host`]: the clock and the worker threads of an operating system, as the core wants them.

use crate::limits;
use crate::workers::{SPIN, Workers};
use axiom_core::platform::Platform;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Polls after which a waiting thread offers its core to others: some microseconds, the time that threads which all run
/// are apart at the end of a phase.
const N_SPIN: u32 = 128;

/// Microseconds since the first call; one clock for all that reads it.
pub fn now_us() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_micros() as u64
}

/// The [`Platform`] of an operating system.
pub struct Host {
    workers: Workers,
    n_spin: u32,
}

impl Host {
    /// Starts `n_worker` − 1 threads; they sleep while there is no job.
    ///
    /// Where they are more than the processors of this process, they do not spin: whoever spins keeps the one waited for
    /// from running.
    ///
    /// # Errors
    ///
    /// Those of starting a thread.
    ///
    /// # Panics
    ///
    /// If `n_worker` is 0.
    pub fn start(n_worker: usize) -> std::io::Result<Self> {
        let is_crowded = n_worker > limits::cpu_budget().n_affinity;
        let spin = if is_crowded { Duration::ZERO } else { SPIN };
        Ok(Self { workers: Workers::start(n_worker, spin)?, n_spin: if is_crowded { 0 } else { N_SPIN } })
    }
}

// SAFETY: the promises of `Platform`, one by one. `Instant` is monotonic. `n_worker` is the number of threads, which is
// fixed. `Workers::run` gives every thread its own number below `n_worker`, and `Workers::close` waits for all that entered.
unsafe impl Platform for Host {
    fn now_us(&self) -> u64 {
        now_us()
    }

    fn n_worker(&self) -> usize {
        self.workers.n_worker()
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        self.workers.run(job);
    }

    fn relax(&self, n_poll: u32) {
        // Whoever is waited for may have left by a panic.
        self.workers.leave_if_abandoned();
        if n_poll < self.n_spin {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
