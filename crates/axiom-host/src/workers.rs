//! A fixed set of threads that join the caller's job while it is open.
//!
//! A job is published under a generation number and is open until the caller's own part of it ends. A worker that is awake
//! in that time joins; one that the machine has not run by then stays out, and nobody waits for it. That is right for jobs
//! that hand out their work in pieces: whoever comes takes a piece, and the last piece taken ends the job. It keeps the pace
//! with other processes on the cores, with more threads than cores, and after a `fork`, where no worker is left.
//!
//! Everything is decided by one atomic word, [`State`]: generation, open or closed, and how many workers are inside. A
//! worker enters by one compare-and-swap that fails if the job was closed in the meantime; after it has succeeded, the
//! caller does not return before the worker has left, so the pointer to the job outlives every use.

use crate::float_mode::StandardFloat;
use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

type Job<'a> = &'a (dyn Fn(usize) + Sync);
type Payload = Box<dyn Any + Send>;

/// How long a thread polls before it sleeps, where every thread can have a core of its own: longer than the pause between
/// two steps of a pass, shorter than anyone would notice on an idle machine.
pub const SPIN: Duration = Duration::from_micros(40);

/// `generation << 32 | open << 31 | waiting << 30 | joined`.
///
/// `waiting` says that the caller sleeps until `joined` is 0. Generations wrap after 2^32 jobs; a worker that has slept
/// through exactly so many misses one more job, which it may.
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    const OPEN: u64 = 1 << 31;
    const WAITING: u64 = 1 << 30;
    const JOINED: u64 = Self::WAITING - 1;

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    fn is_waiting(self) -> bool {
        self.0 & Self::WAITING != 0
    }

    fn n_joined(self) -> u64 {
        self.0 & Self::JOINED
    }

    /// The next job: open, nobody inside.
    fn next(self) -> Self {
        Self(u64::from(self.generation().wrapping_add(1)) << 32 | Self::OPEN)
    }
}

struct Shared {
    state: AtomicU64,
    /// The job; written while it is closed and nobody is inside, read by workers that are inside.
    job: UnsafeCell<Option<Job<'static>>>,
    /// The first panic of a worker in this job.
    panic: Mutex<Option<Payload>>,
    /// Set with it, for those who poll for the one that panicked.
    panicked: AtomicBool,
    quit: AtomicBool,
    /// Threads that have begun to serve.
    n_ready: AtomicUsize,
    /// For each worker, whether it sleeps or is about to.
    asleep: Box<[AtomicBool]>,
    /// The caller sleeps here until the last worker has left.
    left: Condvar,
    left_lock: Mutex<()>,
    spin: Duration,
}

// SAFETY: `job` is the only part that is not `Sync` by itself. It is written by the one caller (who holds `Workers::turn`)
// while the state is closed with nobody inside, and read only by workers inside; entering and leaving are read-modify-write
// operations on `state`, which order the accesses.
unsafe impl Sync for Shared {}
// SAFETY: as above; the job itself is `Sync`, so a reference to it may be used by other threads.
unsafe impl Send for Shared {}

/// The payload with which a thread leaves a job that another has left by a panic; nobody sees it.
struct Abandoned;

/// The threads.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// One job at a time, from whichever thread.
    turn: Mutex<()>,
    /// The process that the threads were started in.
    process: u32,
}

impl Workers {
    /// Starts `n_worker` − 1 threads: the caller of a job is one of its workers.
    ///
    /// `spin` is how long they poll for the next job before they sleep.
    ///
    /// # Errors
    ///
    /// Those of starting a thread.
    ///
    /// # Panics
    ///
    /// If `n_worker` is 0.
    pub fn start(n_worker: usize, spin: Duration) -> std::io::Result<Self> {
        assert!(n_worker > 0, "the caller is a worker: n_worker is at least 1");
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            n_ready: AtomicUsize::new(0),
            asleep: (1..n_worker).map(|_| AtomicBool::new(false)).collect(),
            left: Condvar::new(),
            left_lock: Mutex::new(()),
            spin,
        });
        // If a thread cannot be started, dropping `workers` ends those before it.
        let mut workers = Self { shared, threads: Vec::new(), turn: Mutex::new(()), process: std::process::id() };
        for worker in 1..n_worker {
            let shared = Arc::clone(&workers.shared);
            let builder = thread::Builder::new().name(format!("axiom-{worker}"));
            workers.threads.push(builder.spawn(move || shared.serve(worker))?);
        }
        // A thread allocates while it starts, and must not do so beside the first jobs.
        while workers.shared.n_ready.load(SeqCst) < workers.threads.len() {
            thread::yield_now();
        }
        Ok(workers)
    }

    /// Workers, the caller included.
    pub fn n_worker(&self) -> usize {
        self.shared.asleep.len() + 1
    }

    /// Runs `job(0)` here and `job(worker)` on each thread that comes in time; returns when all of them have ended.
    ///
    /// Calls from several threads take turns. A job must not call this again.
    ///
    /// # Panics
    ///
    /// With the first panic of a worker; if none has panicked, with the caller's own.
    pub fn run(&self, job: Job<'_>) {
        if self.threads.is_empty() {
            let _mode = StandardFloat::enter();
            return job(0);
        }
        let _turn = lock(&self.turn);
        self.open(job);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _mode = StandardFloat::enter();
            job(0);
        }));
        if result.is_err() {
            self.shared.panicked.store(true, SeqCst);
        }
        self.close();
        self.shared.panicked.store(false, SeqCst);
        if let Some(payload) = lock(&self.shared.panic).take() {
            resume_unwind(payload);
        }
        if let Err(payload) = result {
            resume_unwind(payload);
        }
    }

    /// Leaves the job, by unwinding, if another of its threads has left it by a panic.
    ///
    /// For those who wait, inside a job, for what another thread was to do.
    pub fn leave_if_abandoned(&self) {
        if self.shared.panicked.load(SeqCst) {
            // Not `panic!`: the panic that counts has had its message.
            resume_unwind(Box::new(Abandoned));
        }
    }

    fn open(&self, job: Job<'_>) {
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. Workers use the job while they are inside, and `close`, which `run` calls on
        // every path, returns when nobody is inside and nobody can enter.
        let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
        // SAFETY: the state is closed with nobody inside, and `turn` keeps other callers out: nobody else looks.
        unsafe { *shared.job.get() = Some(job) };
        let state = State(shared.state.load(SeqCst));
        shared.state.store(state.next().0, SeqCst);
        // A worker says that it falls asleep and then looks at the state again; here the state is set first and the sleepers
        // are looked at then. One of the two sees the other, so that no sleeper is missed.
        for (asleep, thread) in shared.asleep.iter().zip(&self.threads) {
            if asleep.load(SeqCst) && asleep.swap(false, SeqCst) {
                thread.thread().unpark();
            }
        }
    }

    /// Lets nobody enter any more, and waits for those inside.
    fn close(&self) {
        let shared = &*self.shared;
        let mut state = State(shared.state.fetch_and(!State::OPEN, SeqCst));
        let mut poll = Poll::new(shared.spin);
        while state.n_joined() > 0 && poll.again() {
            state = State(shared.state.load(SeqCst));
        }
        if state.n_joined() > 0 {
            let mut guard = lock(&shared.left_lock);
            state = State(shared.state.fetch_or(State::WAITING, SeqCst));
            while state.n_joined() > 0 {
                guard = shared.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
                state = State(shared.state.load(SeqCst));
            }
        }
        // SAFETY: closed with nobody inside.
        unsafe { *shared.job.get() = None };
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // After a fork the threads are the parent's; here there is nothing to wait for.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.quit.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A worker catches the panics of its jobs, and has none of its own to report.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The life of one worker thread.
    fn serve(&self, worker: usize) {
        self.n_ready.fetch_add(1, SeqCst);
        let mut last = State(0).generation();
        loop {
            let Some(state) = self.wait_for_job(worker, last) else { return };
            last = state.generation();
            if !self.enter(last) {
                continue;
            }
            // SAFETY: this thread is inside, and the job is written only while nobody is.
            let job = unsafe { *self.job.get() }.expect("an open job is set");
            let result = catch_unwind(AssertUnwindSafe(|| {
                let _mode = StandardFloat::enter();
                job(worker);
            }));
            if let Err(payload) = result {
                if !payload.is::<Abandoned>() {
                    lock(&self.panic).get_or_insert(payload);
                }
                self.panicked.store(true, SeqCst);
            }
            let before = State(self.state.fetch_sub(1, SeqCst));
            if before.n_joined() == 1 && before.is_waiting() {
                // Under the lock, so that it cannot fall between the caller's look and its sleep.
                let _guard = lock(&self.left_lock);
                self.left.notify_one();
            }
        }
    }

    /// Enters the job of this generation, however many enter or leave at the same time; false if it has closed.
    fn enter(&self, generation: u32) -> bool {
        let entered = self.state.fetch_update(SeqCst, SeqCst, |state| {
            let state = State(state);
            (state.generation() == generation && state.is_open()).then_some(state.0 + 1)
        });
        entered.is_ok()
    }

    /// The state of an open job later than `last`, or `None` to quit.
    fn wait_for_job(&self, worker: usize, last: u32) -> Option<State> {
        let asleep = &self.asleep[worker - 1];
        let mut poll = Poll::new(self.spin);
        loop {
            if self.quit.load(SeqCst) {
                return None;
            }
            let state = State(self.state.load(SeqCst));
            if state.is_open() && state.generation() != last {
                asleep.store(false, SeqCst);
                return Some(state);
            }
            // Asleep is said first and the state is looked at once more then: see `Workers::open`.
            if !poll.again() && asleep.swap(true, SeqCst) {
                thread::park();
                poll = Poll::new(self.spin);
            }
        }
    }
}

/// Polling for a limited time.
struct Poll {
    n_poll: u32,
    limit: Duration,
    since: Option<Instant>,
}

impl Poll {
    fn new(limit: Duration) -> Self {
        Self { n_poll: 0, limit, since: None }
    }

    /// Waits a moment; false when the time is over.
    fn again(&mut self) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        self.n_poll += 1;
        std::hint::spin_loop();
        // Asking the clock takes longer than a spin.
        !self.n_poll.is_multiple_of(32) || self.since.get_or_insert_with(Instant::now).elapsed() < self.limit
    }
}

/// What these locks guard is valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
