//! [`Machine`]: the cores and the clock of a bare machine, as the engine wants them.

use crate::{apic, clock, nub};
use axiom_core::platform::Platform;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// The job that cores take part in. One atomic word decides everything, as in `axiom_host::workers`: the generation in the
/// upper half, whether the job is open, and how many cores are inside. A core enters by one compare-and-swap that fails if
/// the job was closed meanwhile; who opened it does not return before all have left.
pub struct Work {
    state: AtomicU64,
    /// Written while the job is closed and nobody is inside; read inside.
    job: UnsafeCell<Option<Job<'static>>>,
}

// SAFETY: `job` is written only by the first core, and only while nobody is inside; entering and leaving order the accesses.
unsafe impl Sync for Work {}

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

/// Whether cores without work sleep.
static IS_ASLEEP: AtomicBool = AtomicBool::new(false);

/// Lets the other cores sleep. Whoever gets there late is woken all the same: what wakes it waits until it sleeps.
pub fn fall_asleep() {
    IS_ASLEEP.store(true, SeqCst);
}

/// Wakes them, if they were let sleep.
fn wake_up() {
    if IS_ASLEEP.swap(false, SeqCst) {
        apic::wake_others();
    }
}

/// The one that all cores look at.
pub static WORK: Work = Work { state: AtomicU64::new(0), job: UnsafeCell::new(None) };

impl Work {
    /// Runs `job` here as worker 0, and on every core that comes while it is open.
    fn run(&self, job: Job<'_>) {
        // SAFETY: only the lifetime changes; nobody is inside any more when this returns, and nobody can enter.
        let job_static = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(job) };
        // SAFETY: closed, with nobody inside.
        unsafe { *self.job.get() = Some(job_static) };
        let generation = self.state.load(SeqCst) >> 32;
        self.state.store((generation + 1) << 32 | OPEN, SeqCst);
        job(0);
        self.state.fetch_and(!OPEN, SeqCst);
        while self.state.load(SeqCst) & INSIDE != 0 {
            core::hint::spin_loop();
        }
    }

    /// The life of core `core`, which is the number of its worker too.
    pub fn serve(&self, core: usize) -> ! {
        let mut last = 0;
        loop {
            let state = self.state.load(SeqCst);
            if state & OPEN == 0 || state >> 32 == last {
                if IS_ASLEEP.load(SeqCst) {
                    nub::wait()
                } else {
                    core::hint::spin_loop()
                }
                continue;
            }
            if self.state.compare_exchange(state, state + 1, SeqCst, SeqCst).is_err() {
                continue;
            }
            last = state >> 32;
            // SAFETY: inside; the job is set while it is open.
            let job = unsafe { *self.job.get() }.expect("an open job is set");
            job(core);
            self.state.fetch_sub(1, SeqCst);
        }
    }
}

/// The machine.
pub struct Machine {
    n_worker: usize,
}

impl Machine {
    /// With that many cores, which serve.
    pub fn new(n_worker: usize) -> Machine {
        Machine { n_worker }
    }
}

// SAFETY: the promises of `Platform`, one by one. The counter never goes back. `n_worker` is fixed. Each core has its own
// number, and `Work::run` waits for all that entered.
unsafe impl Platform for Machine {
    fn now_us(&self) -> u64 {
        crate::watchdog::hand_over();
        clock::now_us()
    }

    fn n_worker(&self) -> usize {
        self.n_worker
    }

    fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        if self.n_worker == 1 {
            job(0);
        } else {
            wake_up();
            WORK.run(job);
        }
    }

    fn relax(&self, _n_poll: u32) {
        core::hint::spin_loop();
    }
}
