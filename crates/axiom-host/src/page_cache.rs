//! [`Cached`]: what the system's page cache holds of a file, and reads of it from there.
//!
//! A model that was run or packed a moment ago is still in memory, from where a read is many times faster than from a disk.
//! Asking (`mincore`) brings nothing into the cache and puts nothing out.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::NonNull;

/// Pages that one question covers.
const N_PAGE: usize = 2048;
const PAGE: usize = 4096;

/// A file in the page cache, as far as it is there.
pub struct Cached {
    file: File,
    /// The file's pages, mapped and never touched: the system answers for mappings.
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: the mapping is only asked about, which any thread may do.
unsafe impl Send for Cached {}
// SAFETY: as above.
unsafe impl Sync for Cached {}

impl Cached {
    /// The file at `path`, if that is still `same`, or `None` where the system would not tell: pages of another size, or a file
    /// that is not this user's.
    ///
    /// # Errors
    ///
    /// Those of opening the file.
    pub fn open(path: &Path, same: &File) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let (metadata, theirs) = (file.metadata()?, same.metadata()?);
        if (metadata.dev(), metadata.ino()) != (theirs.dev(), theirs.ino()) {
            return Ok(None);
        }
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let n_bytes = usize::try_from(metadata.len()).unwrap_or(0);
        if page != PAGE as libc::c_long || n_bytes == 0 || !is_told(&metadata) {
            return Ok(None);
        }
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), n_bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Ok(None);
        }
        Ok(NonNull::new(start.cast()).map(|start| Self { file, start, n_bytes }))
    }

    /// The file, if all of these bytes are in the cache. `offset` is a multiple of a page.
    pub fn with(&self, offset: u64, bytes: usize) -> Option<&File> {
        let mut at = usize::try_from(offset).ok().filter(|offset| offset.is_multiple_of(PAGE))?;
        let end = at.checked_add(bytes).filter(|end| *end <= self.n_bytes)?;
        let mut pages = [0u8; N_PAGE];
        while at < end {
            let n_page = (end - at).div_ceil(PAGE).min(N_PAGE);
            // SAFETY: the range is inside the mapping, and there is an entry for each of its pages.
            let asked =
                unsafe { libc::mincore(self.start.as_ptr().add(at).cast(), n_page * PAGE, pages.as_mut_ptr().cast()) };
            if asked != 0 || pages[..n_page].iter().any(|page| page & 1 == 0) {
                return None;
            }
            at += n_page * PAGE;
        }
        Some(&self.file)
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.n_bytes) };
    }
}

/// Whether the system tells this process about the file. Of a file that is not its own it says that all is in memory.
fn is_told(metadata: &Metadata) -> bool {
    // SAFETY: asks for a number.
    let user = unsafe { libc::geteuid() };
    user == 0 || user == metadata.uid()
}
