//! [`Timer`]: a thread that ticks the lock of an engine while it computes.

use crate::host::now_us;
use axiom_core::schedule::LayerLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two ticks: within what a person takes for at once, and seldom enough to cost nothing.
pub const PERIOD: Duration = Duration::from_millis(10);

/// The thread. It sleeps while the engine does not compute.
pub struct Timer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The process that the thread is in.
    process: u32,
}

struct Shared {
    lock: Arc<LayerLock>,
    /// Calls that have begun, and calls that have ended.
    n_begun: AtomicU64,
    n_ended: AtomicU64,
    is_asleep: AtomicBool,
    is_closed: Mutex<bool>,
    changed: Condvar,
}

impl Timer {
    /// Starts the thread for the lock of an engine.
    ///
    /// # Errors
    ///
    /// Those of starting a thread.
    pub fn start(lock: Arc<LayerLock>) -> std::io::Result<Timer> {
        let shared = Arc::new(Shared {
            lock,
            n_begun: AtomicU64::new(0),
            n_ended: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            is_closed: Mutex::new(false),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("axiom-timer".into()).spawn(move || theirs.tick())?;
        Ok(Timer { shared, thread: Some(thread), process: std::process::id() })
    }

    /// Calls `action`, and ticks meanwhile. The thread falls asleep only when nothing has been computed for a period, so that
    /// a token after a token wakes nobody. After a `fork`, where no thread is left, there is one tick, at the start.
    pub fn ticking<T>(&self, action: impl FnOnce() -> T) -> T {
        if !self.is_here() {
            self.shared.lock.tick(now_us());
            return action();
        }
        self.shared.n_begun.fetch_add(1, SeqCst);
        // The thread says that it sleeps, and then looks once more whether a call has begun: so none is slept through.
        if self.shared.is_asleep.load(SeqCst) {
            let _guard = self.shared.guard();
            self.shared.is_asleep.store(false, SeqCst);
            self.shared.changed.notify_one();
        }
        let ended = Ended(&self.shared.n_ended);
        let result = action();
        drop(ended);
        result
    }

    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }
}

/// Counts the end of a call, however it ends.
struct Ended<'a>(&'a AtomicU64);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Shared {
    fn guard(&self) -> MutexGuard<'_, bool> {
        self.is_closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut n_seen = 0;
        let mut is_closed = self.guard();
        while !*is_closed {
            is_closed = self.changed.wait_timeout(is_closed, PERIOD).unwrap_or_else(PoisonError::into_inner).0;
            let (n_ended, n_begun) = (self.n_ended.load(SeqCst), self.n_begun.load(SeqCst));
            if n_begun != n_ended {
                self.lock.tick(now_us());
            } else if n_begun == n_seen {
                self.is_asleep.store(true, SeqCst);
                if self.n_begun.load(SeqCst) != n_seen {
                    self.is_asleep.store(false, SeqCst);
                }
                let is_asleep = |is_closed: &mut bool| self.is_asleep.load(SeqCst) && !*is_closed;
                is_closed = self.changed.wait_while(is_closed, is_asleep).unwrap_or_else(PoisonError::into_inner);
            }
            n_seen = n_begun;
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if !self.is_here() {
            // The thread is the parent's.
            if let Some(thread) = self.thread.take() {
                std::mem::forget(thread);
            }
            return;
        }
        *self.shared.guard() = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ticks_while_something_runs_and_not_otherwise() {
        let lock = Arc::new(LayerLock::new());
        let timer = Timer::start(Arc::clone(&lock)).unwrap();
        for _ in 0..3 {
            std::thread::sleep(4 * PERIOD);
            assert_eq!(lock.yield_at_layer_boundary(now_us()).n_tick, 0, "nothing runs");
            let served = timer.ticking(|| {
                lock.acquire(0).unwrap();
                while lock.n_waiting() < 3 {
                    std::thread::sleep(PERIOD);
                }
                lock.release(0).unwrap();
                lock.yield_at_layer_boundary(now_us())
            });
            assert!(served.n_deferred >= 3 && served.waited_us >= 2 * 9_000, "{served:?}");
            // A tick may be on its way.
            std::thread::sleep(PERIOD);
            lock.yield_at_layer_boundary(now_us());
        }
    }

    #[test]
    fn calls_one_after_the_other_are_never_slept_through() {
        let lock = Arc::new(LayerLock::new());
        let timer = Timer::start(Arc::clone(&lock)).unwrap();
        let mut n_tick = 0;
        for i in 0..400 {
            timer.ticking(|| std::thread::sleep(Duration::from_micros(100 * (i % 20))));
            n_tick += lock.yield_at_layer_boundary(now_us()).n_tick;
        }
        assert!(n_tick > 5, "{n_tick} ticks");
    }
}
