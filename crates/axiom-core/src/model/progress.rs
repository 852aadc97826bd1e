//! How far a load has come: whoever has done a part of it counts its bytes, and worker 0 alone tells, from within a job as
//! well. It is the thread that loads: whoever is told may ask that thread to stop.

use crate::error::Error;
use core::cell::RefCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Progress of a load in bytes, done and in all; stops it with `false`.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize) -> bool;

/// Bytes between two tellings from within a job: few enough that a load stops at once for a person, and enough that it goes on
/// at its speed where each telling waits for a lock.
const BYTES_STEP: usize = 8 << 20;

/// What worker 0 alone uses in a job.
pub struct OfFirst<T>(pub RefCell<T>);

// SAFETY: who calls `with` sees to that.
unsafe impl<T> Sync for OfFirst<T> {}

impl<T> OfFirst<T> {
    /// # Safety
    ///
    /// Called by worker 0.
    pub unsafe fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        action(&mut self.0.borrow_mut())
    }
}

/// Bytes of a load, and who is told of them.
pub struct Counted<'a> {
    n_done: AtomicUsize,
    total: usize,
    teller: OfFirst<Teller<'a>>,
}

struct Teller<'a> {
    progress: Progress<'a>,
    n_told: usize,
    is_stopped: bool,
}

impl Teller<'_> {
    /// Who has said that it is enough is not asked again.
    fn tell(&mut self, n_done: usize, total: usize) -> Result<(), Error> {
        self.n_told = n_done;
        self.is_stopped = self.is_stopped || !(self.progress)(n_done, total);
        if self.is_stopped { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl<'a> Counted<'a> {
    /// Of `total` bytes, none are done.
    pub fn new(total: usize, progress: Progress<'a>) -> Counted<'a> {
        let teller = Teller { progress, n_told: 0, is_stopped: false };
        Counted { n_done: AtomicUsize::new(0), total, teller: OfFirst(RefCell::new(teller)) }
    }

    /// A worker of a job has done `n` more.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] for worker 0, if the load is to stop.
    ///
    /// # Safety
    ///
    /// `worker` is the caller's own number.
    pub unsafe fn add(&self, worker: usize, n: usize) -> Result<(), Error> {
        let n_done = self.n_done.fetch_add(n, Relaxed) + n;
        if worker > 0 {
            return Ok(());
        }
        let tell = |teller: &mut Teller<'_>| match n_done - teller.n_told >= BYTES_STEP {
            true => teller.tell(n_done, self.total),
            false => Ok(()),
        };
        // SAFETY: worker 0 it is, by the caller's duty.
        unsafe { self.teller.with(tell) }
    }

    /// Outside of a job: `n` more are done.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the load is to stop, or was to stop already.
    pub fn tell(&mut self, n: usize) -> Result<(), Error> {
        *self.n_done.get_mut() += n;
        self.teller.0.get_mut().tell(*self.n_done.get_mut(), self.total)
    }
}
