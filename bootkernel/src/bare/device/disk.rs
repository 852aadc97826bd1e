//! `Disk`: any disk as the streamer wants one. It cuts nothing and orders nothing; what it adds to a driver is patience with a
//! limit: a request that fails is tried once more, a device that does not answer is reset once, and then there is one error.

use super::{Awake, Clock, DeviceError};

/// Most requests under way.
pub const N_REQUEST: usize = 64;

/// How long a device that has requests may answer none of them before it counts as stuck. How long one request takes says
/// nothing: the last of many waits for all that came before it.
pub const LIMIT_US: u64 = 700_000;

/// So much longer for each MiB that is under way, which is 10 MB/s. QEMU makes one read of up to 32 that lie side by side, a
/// disk may go on with all of them in turn, and then none ends before the last.
pub const LIMIT_MIB_US: u64 = 100_000;

/// So many requests may end while one does not: those before it, and in whatever order the device likes as many after it. One
/// that has waited for longer than the limit too is lost.
const N_PASSED_OVER: u64 = 2 * N_REQUEST as u64;

/// What is done about a device that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// After [`LIMIT_US`] of silence it is reset, and asked once more.
    Reset,
    /// It is waited for twice as long. A hypervisor's device does not stop what its host is doing: its reset waits for the very
    /// read that does not come, the whole machine stands still meanwhile, and nobody could be told.
    Wait,
}

/// What the drivers have in common.
pub trait Driver {
    /// Bytes of a sector: reads begin and end at multiples.
    fn bytes_sector(&self) -> u32;
    /// Sectors.
    fn n_sector(&self) -> u64;
    /// Bytes of the largest read.
    fn bytes_request_max(&self) -> usize;
    /// Reads that may be under way, at most [`N_REQUEST`]; each has a slot with a number below that.
    fn n_request_max(&self) -> usize;

    /// Queues a read; the device sees it after [`Driver::kick`].
    ///
    /// # Safety
    ///
    /// The slot is free. The bytes at `to`, a multiple of 4096, are nobody else's until the read has ended; they are whole
    /// sectors inside the disk, and no more than the largest read.
    unsafe fn submit(&mut self, slot: usize, sector: u64, to: *mut u8, n_byte: usize);

    /// Shows the device what was queued.
    fn kick(&mut self);

    /// A read that has ended.
    ///
    /// # Errors
    ///
    /// What the device said that cannot be; it needs a reset.
    fn poll(&mut self) -> Result<Option<Ended>, DeviceError>;

    /// Begins anew, with no read under way.
    ///
    /// # Errors
    ///
    /// If it does not come back.
    fn reset(&mut self) -> Result<(), DeviceError>;
}

impl<D: Driver + ?Sized> Driver for alloc::boxed::Box<D> {
    fn bytes_sector(&self) -> u32 {
        (**self).bytes_sector()
    }

    fn n_sector(&self) -> u64 {
        (**self).n_sector()
    }

    fn bytes_request_max(&self) -> usize {
        (**self).bytes_request_max()
    }

    fn n_request_max(&self) -> usize {
        (**self).n_request_max()
    }

    unsafe fn submit(&mut self, slot: usize, sector: u64, to: *mut u8, n_byte: usize) {
        // SAFETY: the caller's duty.
        unsafe { (**self).submit(slot, sector, to, n_byte) }
    }

    fn kick(&mut self) {
        (**self).kick();
    }

    fn poll(&mut self) -> Result<Option<Ended>, DeviceError> {
        (**self).poll()
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        (**self).reset()
    }
}

/// A read that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its slot.
    pub slot: usize,
    /// The device's word for what happened; 0 is success.
    pub status: u32,
}

/// Why a read has failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The byte on the disk where the read began.
    pub offset: u64,
    /// Its length.
    pub n_byte: usize,
    /// What happened, the last time.
    pub error: DeviceError,
}

#[derive(Clone, Copy)]
struct Request {
    tag: u64,
    sector: u64,
    to: *mut u8,
    n_byte: usize,
    since_us: u64,
    /// Reads that had ended when it began.
    n_ended: u64,
    n_attempt: u32,
}

/// A disk.
pub struct Disk<D> {
    driver: D,
    awake: Awake,
    patience: Patience,
    /// Since when nothing was heard of the reads that are under way.
    silent_since_us: u64,
    /// Reads that have ended.
    n_ended: u64,
    /// By slot.
    under_way: [Option<Request>; N_REQUEST],
    /// Set when a reset has failed: everything that follows fails with it.
    dead: Option<DeviceError>,
    /// Whether something was queued since the last kick.
    is_queued: bool,
    n_reset: u64,
    n_retry: u64,
}

// SAFETY: the pointers are into memory that the submitter has lent; they are handed to the device, not followed.
unsafe impl<D: Send> Send for Disk<D> {}

impl<D: Driver> Disk<D> {
    /// The disk of that driver, which is ready.
    pub fn new(driver: D, clock: Clock) -> Disk<D> {
        Disk {
            driver,
            awake: Awake::new(clock),
            patience: Patience::Reset,
            silent_since_us: 0,
            n_ended: 0,
            under_way: [None; N_REQUEST],
            dead: None,
            is_queued: false,
            n_reset: 0,
            n_retry: 0,
        }
    }

    /// The same, with that patience.
    pub fn with_patience(self, patience: Patience) -> Disk<D> {
        Disk { patience, ..self }
    }

    /// The driver.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Bytes of the disk.
    pub fn bytes(&self) -> u64 {
        self.driver.n_sector().saturating_mul(self.driver.bytes_sector().into())
    }

    /// Resets and second attempts so far.
    pub fn n_trouble(&self) -> (u64, u64) {
        (self.n_reset, self.n_retry)
    }

    /// Queues a read of `n_byte` bytes from `offset`; answers whether there was a slot for it.
    ///
    /// # Safety
    ///
    /// The bytes at `to`, a multiple of 4096, are nobody else's until the read has ended.
    ///
    /// # Panics
    ///
    /// If it is not of whole sectors inside the disk, or longer than the largest read.
    pub unsafe fn submit(&mut self, tag: u64, offset: u64, to: *mut u8, n_byte: usize) -> bool {
        let sector = u64::from(self.driver.bytes_sector());
        assert!(
            offset.is_multiple_of(sector)
                && (n_byte as u64).is_multiple_of(sector)
                && n_byte > 0
                && n_byte <= self.driver.bytes_request_max()
                && offset.checked_add(n_byte as u64).is_some_and(|end| end <= self.bytes())
                && (to as usize).is_multiple_of(4096),
            "read of {n_byte} bytes at {offset} to {to:p}"
        );
        let n = self.driver.n_request_max().min(N_REQUEST);
        let Some(slot) = self.under_way[..n].iter().position(Option::is_none) else { return false };
        self.begin(slot, Request { tag, sector: offset / sector, to, n_byte, since_us: 0, n_ended: 0, n_attempt: 0 });
        true
    }

    fn begin(&mut self, slot: usize, mut request: Request) {
        let now = self.awake.now();
        if self.under_way.iter().all(Option::is_none) {
            self.silent_since_us = now;
        }
        request.since_us = now;
        request.n_ended = self.n_ended;
        request.n_attempt += 1;
        self.under_way[slot] = Some(request);
        if self.dead.is_none() {
            // SAFETY: the slot was free; the rest `submit` has checked, and its caller answers for.
            unsafe { self.driver.submit(slot, request.sector, request.to, request.n_byte) };
            self.is_queued = true;
        }
    }

    /// Shows the device what was queued since the last time.
    pub fn start(&mut self) {
        if core::mem::take(&mut self.is_queued) {
            self.driver.kick();
        }
    }

    /// A read that has ended, for good or for bad.
    pub fn poll(&mut self) -> Option<(u64, Result<usize, Fault>)> {
        self.start();
        let mut is_late = false;
        loop {
            if let Some(error) = self.dead {
                let request = self.under_way.iter_mut().find_map(Option::take)?;
                return Some((request.tag, Err(self.fault(&request, error))));
            }
            match self.driver.poll() {
                Ok(Some(Ended { slot, status })) => {
                    let request = self.under_way.get_mut(slot).and_then(Option::take);
                    let Some(request) = request else {
                        self.start_over(DeviceError::Nonsense {
                            what: "the slot of a finished read",
                            got: slot as u64,
                        });
                        continue;
                    };
                    self.n_ended += 1;
                    self.silent_since_us = self.awake.now();
                    is_late = false;
                    match status {
                        0 => return Some((request.tag, Ok(request.n_byte))),
                        _ if request.n_attempt < 2 => {
                            self.n_retry += 1;
                            self.begin(slot, request);
                            self.start();
                        }
                        _ => {
                            let error = DeviceError::Failed { what: "a read", status };
                            return Some((request.tag, Err(self.fault(&request, error))));
                        }
                    }
                }
                Ok(None) => {
                    let limit_us = self.stuck_after_us()?;
                    // What it was asked before the look at the clock is not what it says after it.
                    if !core::mem::replace(&mut is_late, true) {
                        continue;
                    }
                    let error = DeviceError::TimedOut { waiting_for: "end of a read", after_us: limit_us };
                    match self.patience {
                        Patience::Reset => self.start_over(error),
                        Patience::Wait => self.dead = Some(error),
                    }
                }
                Err(error) => self.start_over(error),
            }
        }
    }

    /// How long it was waited for, if it has been silent for too long or has lost a request.
    fn stuck_after_us(&mut self) -> Option<u64> {
        let mut under_way = self.under_way.iter().flatten();
        let n_byte = under_way.clone().map(|request| request.n_byte as u64).sum::<u64>();
        if n_byte == 0 {
            return None;
        }
        let now = self.awake.now();
        let limit_us = LIMIT_MIB_US * (n_byte >> 20)
            + match self.patience {
                Patience::Reset => LIMIT_US,
                Patience::Wait => 2 * LIMIT_US,
            };
        let is_passed_over =
            |request: &Request| now - request.since_us > limit_us && self.n_ended - request.n_ended > N_PASSED_OVER;
        let is_stuck = now - self.silent_since_us > limit_us || under_way.any(is_passed_over);
        is_stuck.then_some(limit_us)
    }

    fn fault(&self, request: &Request, error: DeviceError) -> Fault {
        Fault { offset: request.sector * u64::from(self.driver.bytes_sector()), n_byte: request.n_byte, error }
    }

    /// Resets the device and queues what was under way once more; or gives up, if that was done before.
    fn start_over(&mut self, error: DeviceError) {
        let is_second = self.under_way.iter().flatten().any(|request| request.n_attempt > 1);
        if is_second || self.n_reset > 0 && self.under_way.iter().flatten().next().is_none() {
            // The device must not write to memory that will be someone else's.
            self.dead = Some(self.driver.reset().err().unwrap_or(error));
            return;
        }
        self.n_reset += 1;
        if let Err(error) = self.driver.reset() {
            self.dead = Some(error);
            return;
        }
        for slot in 0..N_REQUEST {
            if let Some(request) = self.under_way[slot].take() {
                self.begin(slot, request);
            }
        }
        self.silent_since_us = self.awake.now();
        self.start();
    }
}

#[cfg(test)]
mod tests;
