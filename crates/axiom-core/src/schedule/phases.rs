//! `Phases`: a pass as a row of phases, each cut into chunks that workers take one by one.
//!
//! A phase ends when its chunks are done, not when its workers have arrived: a worker that the machine keeps from running
//! holds up at most the chunk it is in, and later skips the phases that went by without it. Which worker takes which chunk
//! changes from run to run; what a chunk computes does not.

use crate::platform::Platform;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The state that workers share. One phase is open at a time.
pub struct Phases {
    /// Number of the open phase in the upper 32 bits, next chunk to hand out in the lower.
    ticket: AtomicU64,
    /// Chunks of the open phase that are done.
    n_done: AtomicU32,
    /// Gates that have been opened.
    n_open: AtomicU32,
    cancelled: AtomicBool,
}

/// The pass was cancelled: unwind, nothing more is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

/// One worker's way through the phases of a pass.
pub struct Member<'a> {
    phases: &'a Phases,
    platform: &'a dyn Platform,
    /// Number of the next phase.
    phase: u32,
    /// Gates passed.
    n_gate: u32,
}

impl Default for Phases {
    fn default() -> Phases {
        Phases::new()
    }
}

impl Phases {
    /// Before the first phase.
    pub const fn new() -> Phases {
        Phases {
            ticket: AtomicU64::new(0),
            n_done: AtomicU32::new(0),
            n_open: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Back to before the first phase. No worker may be inside.
    pub fn reset(&mut self) {
        *self = Phases::new();
    }

    /// A worker's way through, from the first phase on. Every worker runs the same phases in the same order.
    pub fn join<'a>(&'a self, platform: &'a dyn Platform) -> Member<'a> {
        Member { phases: self, platform, phase: 0, n_gate: 0 }
    }

    /// Opens the next gate: what was written before is visible to whoever passes it.
    pub fn open_gate(&self) {
        self.n_open.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the pass: every worker gets [`Cancelled`] from its next phase.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }
}

impl Member<'_> {
    /// Waits until the next gate has been opened.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the pass was.
    pub fn gate(&mut self) -> Result<(), Cancelled> {
        let mut n_poll = 0;
        while self.phases.n_open.load(Ordering::Acquire) <= self.n_gate {
            if self.phases.cancelled.load(Ordering::Acquire) {
                return Err(Cancelled);
            }
            self.platform.relax(n_poll);
            n_poll = n_poll.saturating_add(1);
        }
        self.n_gate += 1;
        Ok(())
    }

    /// Takes part in the next phase, of `n_chunk` ≥ 1 chunks: calls `body(chunk)` for each chunk that this worker gets, and
    /// returns when all are done. What any worker wrote in the phase is visible to all afterwards.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the pass was.
    pub fn phase(&mut self, n_chunk: usize, body: impl FnMut(usize)) -> Result<(), Cancelled> {
        self.phase_then(n_chunk, body, || ())
    }

    /// As [`Member::phase`]; whichever worker ends the phase calls `at_end` before the next phase opens.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the pass was.
    pub fn phase_then(
        &mut self,
        n_chunk: usize,
        mut body: impl FnMut(usize),
        at_end: impl Fn(),
    ) -> Result<(), Cancelled> {
        assert!(n_chunk > 0, "a phase of no chunks never ends");
        let mine = self.phase;
        self.phase += 1;
        let mut n_poll = 0;
        loop {
            if self.phases.cancelled.load(Ordering::Acquire) {
                return Err(Cancelled);
            }
            let ticket = self.phases.ticket.load(Ordering::Acquire);
            let (open, next) = ((ticket >> 32) as u32, ticket as u32);
            if open > mine {
                return Ok(());
            }
            if open < mine || next as usize >= n_chunk {
                self.platform.relax(n_poll);
                n_poll = n_poll.saturating_add(1);
                continue;
            }
            n_poll = 0;
            let taken =
                self.phases.ticket.compare_exchange_weak(ticket, ticket + 1, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_err() {
                continue;
            }
            let guard = CancelOnPanic(self.phases);
            body(next as usize);
            core::mem::forget(guard);
            // The last one done has seen the writes of all (a release sequence), and passes them on with the ticket.
            if self.phases.n_done.fetch_add(1, Ordering::AcqRel) + 1 == n_chunk as u32 {
                at_end();
                self.phases.n_done.store(0, Ordering::Relaxed);
                self.phases.ticket.store(u64::from(mine + 1) << 32, Ordering::Release);
            }
        }
    }
}

/// A chunk that panics would leave the others waiting for ever.
struct CancelOnPanic<'a>(&'a Phases);

impl Drop for CancelOnPanic<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
