//! [`Disk`]: a file as the core's [`BlockDevice`], read by threads of its own into the engine's buffers.
//!
//! Reads go past the page cache (`O_DIRECT`) where the file system allows it, which one read at the start finds out: weights
//! that are streamed are read once a pass and would only push other things out of memory. Where it does not, pages are given
//! back after each read, and [`Disk::is_direct`] says so. What is in the page cache already is read from there.
//!
//! After a `fork` no reader is left. In the child a request is read by whoever polls, and so are those that were open at the
//! fork: the parent's readers write to the parent's memory. What readers may have been at work on then, their lock and what
//! it guards, the child leaves alone.

#[cfg(target_os = "linux")]
use crate::page_cache::Cached;
use axiom_core::platform::{BlockDevice, Completion, IoFault};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Alignment of offsets, lengths and addresses: the largest block that disks have today.
pub const ALIGN: usize = 4096;
/// Most bytes of a request: larger ones are no faster.
const BYTES_REQUEST_MAX: usize = 8 << 20;
/// Most requests that wait or are read.
const N_REQUEST_MAX: usize = 256;
/// Threads: requests that the system works on at a time. A disk is at its full speed with a few large ones.
const N_THREAD: usize = 4;
/// The longest wait for a completion.
const WAIT: Duration = Duration::from_millis(2);

/// A file that is read in the background.
pub struct Disk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Requests whose completions have not been given out; their tags differ. Readers do not take this lock.
    open: Mutex<Vec<Request>>,
    /// The process that the threads are in.
    process: u32,
}

struct Shared {
    file: File,
    is_direct: bool,
    /// What the page cache has of the file, if it can be asked.
    #[cfg(target_os = "linux")]
    cached: Option<Cached>,
    state: Mutex<State>,
    /// A request has come, or the end.
    asked: Condvar,
    /// A completion has come.
    answered: Condvar,
}

#[derive(Default)]
struct State {
    requests: VecDeque<Request>,
    completions: VecDeque<Completion>,
    is_closed: bool,
}

#[derive(Clone, Copy)]
struct Request {
    tag: u32,
    offset: u64,
    to: *mut u8,
    bytes: usize,
}

// SAFETY: the buffer is the device's alone until the completion, as `submit` demands.
unsafe impl Send for Request {}

impl Disk {
    /// Opens a file, and starts the threads that read it.
    ///
    /// # Errors
    ///
    /// Those of opening the file and of starting a thread.
    pub fn open(path: &Path) -> io::Result<Disk> {
        let (file, is_direct) = match open_direct(path)? {
            Some(file) => (file, true),
            None => (File::open(path)?, false),
        };
        let state = State {
            requests: VecDeque::with_capacity(N_REQUEST_MAX),
            completions: VecDeque::with_capacity(N_REQUEST_MAX),
            ..State::default()
        };
        let shared = Shared {
            #[cfg(target_os = "linux")]
            cached: if is_direct { Cached::open(path, &file)? } else { None },
            file,
            is_direct,
            state: Mutex::new(state),
            asked: Condvar::new(),
            answered: Condvar::new(),
        };
        let mut disk = Disk {
            shared: Arc::new(shared),
            threads: Vec::with_capacity(N_THREAD),
            open: Mutex::new(Vec::with_capacity(N_REQUEST_MAX)),
            process: std::process::id(),
        };
        for i in 0..N_THREAD {
            let shared = Arc::clone(&disk.shared);
            let thread = std::thread::Builder::new().name(format!("axiom-disk-{i}"));
            let started = thread.spawn(move || shared.serve());
            disk.threads.push(started.map_err(|error| {
                io::Error::other(format!(
                    "cannot start the threads that read it: {error}; allow more threads or memory"
                ))
            })?);
        }
        Ok(disk)
    }

    /// Whether reads go past the page cache.
    pub fn is_direct(&self) -> bool {
        self.shared.is_direct
    }

    fn is_here(&self) -> bool {
        std::process::id() == self.process
    }
}

impl Drop for Disk {
    /// Waits for what is read; what only waits to be read is forgotten.
    fn drop(&mut self) {
        if !self.is_here() {
            // The threads are the parent's.
            self.threads.drain(..).for_each(std::mem::forget);
            return;
        }
        let mut state = lock(&self.shared.state);
        state.requests.clear();
        state.is_closed = true;
        drop(state);
        self.shared.asked.notify_all();
        for thread in self.threads.drain(..) {
            // A reader has no panic of its own to report.
            let _ = thread.join();
        }
    }
}

/// The file without the page cache, if one read shows that its file system can.
fn open_direct(path: &Path) -> io::Result<Option<File>> {
    #[cfg(target_os = "linux")]
    {
        #[repr(align(4096))]
        struct Page([u8; ALIGN]);
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut page = Page([0; ALIGN]);
        // SAFETY: the page is writable for its length.
        let can = unsafe { read_at(&file, page.0.as_mut_ptr(), ALIGN, 0) }.is_ok();
        Ok(can.then_some(file))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (path, OpenOptions::new());
        Ok(None)
    }
}

/// One read.
///
/// # Safety
///
/// `to` is writable for `bytes`.
unsafe fn read_at(file: &File, to: *mut u8, bytes: usize, offset: u64) -> io::Result<usize> {
    let Ok(offset) = libc::off_t::try_from(offset) else { return Err(io::ErrorKind::InvalidInput.into()) };
    loop {
        // SAFETY: the descriptor is open, the buffer is the caller's duty.
        let n = unsafe { libc::pread(file.as_raw_fd(), to.cast(), bytes, offset) };
        match usize::try_from(n) {
            Ok(n) => return Ok(n),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// An error of the system, in words that need no memory.
pub(crate) fn fault(error: &io::Error) -> IoFault {
    let code = error.raw_os_error().unwrap_or(0);
    let what = match code {
        libc::EIO => "input/output error",
        libc::ENODEV | libc::ENXIO => "the device is gone",
        libc::ESTALE => "the file is gone from its server",
        libc::EBADF => "the file is closed",
        libc::EINVAL => "the system cannot read it like this",
        libc::ENOMEM => "the system is out of memory",
        _ => "the system refused",
    };
    IoFault { what, code }
}

/// What these locks guard is valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The life of a reader.
    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some(request) = state.requests.pop_front() else {
                if state.is_closed {
                    return;
                }
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let completion = self.read(&request);
            state = lock(&self.state);
            state.completions.push_back(completion);
            self.answered.notify_one();
        }
    }

    /// Reads what a request asks for.
    fn read(&self, request: &Request) -> Completion {
        // SAFETY: the buffer is this request's until it is answered.
        let result = unsafe { read_at(self.file_for(request), request.to, request.bytes, request.offset) };
        if !self.is_direct {
            self.give_back(request.offset, request.bytes);
        }
        Completion { tag: request.tag, result: result.map_err(|error| fault(&error)) }
    }

    /// The file as it is best read for this request.
    #[cfg(target_os = "linux")]
    fn file_for(&self, request: &Request) -> &File {
        self.cached.as_ref().and_then(|cached| cached.with(request.offset, request.bytes)).unwrap_or(&self.file)
    }

    /// The file.
    #[cfg(not(target_os = "linux"))]
    fn file_for(&self, _request: &Request) -> &File {
        &self.file
    }

    /// Tells the system that the pages of a read are not wanted again.
    fn give_back(&self, offset: u64, bytes: usize) {
        #[cfg(target_os = "linux")]
        if let (Ok(offset), Ok(bytes)) = (libc::off_t::try_from(offset), libc::off_t::try_from(bytes)) {
            // SAFETY: advice about an open descriptor; what it answers changes nothing.
            unsafe { libc::posix_fadvise(self.file.as_raw_fd(), offset, bytes, libc::POSIX_FADV_DONTNEED) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (offset, bytes);
    }
}

// SAFETY: a reader writes to a request's buffer between taking it and pushing its completion, and to nothing else.
unsafe impl BlockDevice for Disk {
    fn align(&self) -> usize {
        ALIGN
    }

    fn bytes_request_max(&self) -> usize {
        BYTES_REQUEST_MAX
    }

    fn n_request_max(&self) -> usize {
        N_REQUEST_MAX
    }

    fn is_in_order(&self) -> bool {
        true
    }

    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        let mut open = lock(&self.open);
        if open.len() == N_REQUEST_MAX {
            return false;
        }
        let request = Request { tag, offset, to, bytes };
        open.push(request);
        if self.is_here() {
            lock(&self.shared.state).requests.push_back(request);
            self.shared.asked.notify_one();
        }
        true
    }

    #[cfg(target_os = "linux")]
    unsafe fn read_at_hand(&self, offset: u64, to: *mut u8, bytes: usize) -> bool {
        let file = self.shared.cached.as_ref().and_then(|cached| cached.with(offset, bytes));
        // SAFETY: the buffer is the caller's duty. A read that fails or falls short is tried again by a reader, which says why.
        file.is_some_and(|file| unsafe { read_at(file, to, bytes, offset) }.is_ok_and(|n| n == bytes))
    }

    fn poll(&self) -> Option<Completion> {
        let mut open = lock(&self.open);
        if open.is_empty() {
            return None;
        }
        if !self.is_here() {
            return open.pop().map(|request| self.shared.read(&request));
        }
        let completion = lock(&self.shared.state).completions.pop_front()?;
        let at = open.iter().position(|request| request.tag == completion.tag).expect("it was open");
        open.swap_remove(at);
        Some(completion)
    }

    fn wait(&self) {
        if !self.is_here() {
            return;
        }
        let state = lock(&self.shared.state);
        if state.completions.is_empty() {
            let _ = self.shared.answered.wait_timeout(state, WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_read_is_forgotten_when_it_closes() {
        let mut disk = Disk::open(&std::env::current_exe().unwrap()).unwrap();
        // Without its readers, whatever is asked waits.
        lock(&disk.shared.state).is_closed = true;
        disk.shared.asked.notify_all();
        disk.threads.drain(..).for_each(|reader| reader.join().unwrap());
        let mut room = [0u8; 16];
        for tag in 0..9 {
            // SAFETY: nobody reads into the room.
            assert!(unsafe { disk.submit(tag, 0, room.as_mut_ptr(), 16) });
        }
        let shared = Arc::clone(&disk.shared);
        assert_eq!(lock(&shared.state).requests.len(), 9);
        drop(disk);
        assert_eq!(lock(&shared.state).requests.len(), 0);
    }
}
