//! `Platform`: the only door out of the core. The host's is in `axiom-host`, the bare machine's in `bootkernel`.

/// What the core needs from the machine it runs on.
///
/// # Safety
///
/// An implementation keeps what each method promises; the engine's memory safety rests on [`Platform::run`].
pub unsafe trait Platform: Send + Sync {
    /// Microseconds since some fixed moment; never goes back.
    fn now_us(&self) -> u64;

    /// Workers, the calling thread included; at least 1, fixed for life.
    fn n_worker(&self) -> usize;

    /// Calls `job(worker)` on the calling thread with worker 0 and on other threads, each with its own number below
    /// [`Platform::n_worker`]; returns when every call that began has ended.
    ///
    /// Threads that have not begun when the caller's own call ends need not begin at all: a job hands its work out in pieces
    /// to whoever comes ([`crate::schedule::Phases`]), so that a thread that the machine keeps from running holds nobody up.
    /// A job does not call `run` again, and one thread calls it at a time.
    fn run(&self, job: &(dyn Fn(usize) + Sync));

    /// Waits a moment: called with 0, 1, 2, … while polling for another worker. Spins at first, then lets others run.
    fn relax(&self, n_poll: u32);
}
