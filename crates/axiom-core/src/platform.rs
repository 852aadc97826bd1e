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

/// A disk, a file or a partition that weights are read from. No call waits for the device but
/// [`BlockDevice::wait`].
///
/// # Safety
///
/// A request that was accepted writes to its buffer until its completion has been given out, and not after; nothing else is
/// written. Once the device has been dropped, nothing is.
pub unsafe trait BlockDevice: Send + Sync {
    /// Offsets, lengths and addresses of requests are multiples of this, a power of two.
    fn align(&self) -> usize;

    /// Most bytes of one request, a multiple of [`BlockDevice::align`].
    fn bytes_request_max(&self) -> usize;

    /// Most requests at a time.
    fn n_request_max(&self) -> usize;

    /// Whether requests are worked at one after the other, or a few at a time. A device that works at all of them at once shares
    /// its rate out among them, so that what was asked for first comes as late as the rest.
    fn is_in_order(&self) -> bool;

    /// Begins to read `bytes` at `offset` into `to`; false if the device has as many requests as it takes. The completion
    /// carries `tag`, which no other request under way has. It may begin no sooner than the next [`BlockDevice::start`] or
    /// [`BlockDevice::poll`].
    ///
    /// # Safety
    ///
    /// `to` is writable for `bytes`, and left alone until the completion has come.
    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool;

    /// Reads, on the calling thread and at once, bytes that need no waiting for: the system has them in memory. False if it has
    /// not; `to` then holds anything.
    ///
    /// # Safety
    ///
    /// `to` is writable for `bytes`, and left alone meanwhile.
    unsafe fn read_at_hand(&self, _offset: u64, _to: *mut u8, _bytes: usize) -> bool {
        false
    }

    /// Shows the device what was submitted: several requests together, where telling it is dear.
    fn start(&self) {}

    /// The next completion that is there, in any order.
    fn poll(&self) -> Option<Completion>;

    /// Waits, for a moment at most, until a completion may be there.
    fn wait(&self);
}

/// Bytes that lie in a file, say, and are read where they are wanted, piece by piece and by any thread.
pub trait StoredBytes: Sync {
    /// How many there are.
    fn n_bytes(&self) -> usize;

    /// Reads those from `start` on into `to`, which may take a while.
    ///
    /// # Errors
    ///
    /// Why they cannot be read; `to` then holds anything.
    fn read(&self, start: usize, to: &mut [u8]) -> Result<(), IoFault>;
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// That of the request.
    pub tag: u32,
    /// Bytes read from its beginning: all, fewer, or why none.
    pub result: Result<usize, IoFault>,
}

/// Why bytes of a device or of a file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoFault {
    /// What went wrong, in words.
    pub what: &'static str,
    /// The device's or the system's number for it, or 0.
    pub code: i32,
}

impl core::fmt::Display for IoFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.what)?;
        if self.code != 0 {
            write!(f, " (code {})", self.code)?;
        }
        Ok(())
    }
}
