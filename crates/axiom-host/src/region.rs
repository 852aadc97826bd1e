//! [`Region`]: one contiguous, zeroed reservation of memory, which holds everything that an engine has.
//!
//! The reservation itself takes no memory: a page comes when it is first touched. It begins at a multiple of 2 MiB and asks
//! the system for huge pages (`MADV_HUGEPAGE`), because a walk through gigabytes of weights otherwise misses the translation
//! cache at every fourth KiB. Asking is all a process can do; [`Region::residency`] says what it got.

use crate::limits;
use std::fmt;
use std::ptr::NonNull;

/// A huge page of x86-64, and of ARM with pages of 4 KiB.
pub const HUGE_PAGE: usize = 2 << 20;

/// A reservation of memory, given back when dropped.
pub struct Region {
    start: NonNull<u8>,
    n_bytes: usize,
}

// SAFETY: the region owns its memory; sharing and sending it is as with `Box<[u8]>`.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// What the system has put behind a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// Bytes that are in memory.
    pub bytes_resident: u64,
    /// Bytes among them that are on huge pages.
    pub bytes_huge: u64,
}

/// The system refused a reservation.
#[derive(Debug)]
pub struct RegionError {
    /// Bytes asked for.
    pub n_bytes: usize,
    /// Memory that the process may still take, if known.
    pub usable_bytes: Option<u64>,
    /// The system's answer.
    pub source: std::io::Error,
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_bytes, usable_bytes, source } = self;
        write!(f, "cannot reserve {n_bytes} bytes ({}) of memory: {source}", Gib(*n_bytes as u64))?;
        if let Some(usable) = usable_bytes {
            write!(f, ", {} are usable", Gib(*usable))?;
        }
        write!(f, "; use a smaller n_ctx or a smaller model, or raise the limit on address space (ulimit -v)")
    }
}

impl std::error::Error for RegionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

struct Gib(u64);

impl fmt::Display for Gib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}

impl Region {
    /// Reserves `n_bytes`, all zero.
    ///
    /// # Errors
    ///
    /// [`RegionError`] if the system refuses.
    pub fn new(n_bytes: usize) -> Result<Self, RegionError> {
        let refused = |source| RegionError { n_bytes, usable_bytes: limits::memory_budget().usable_bytes(), source };
        if n_bytes == 0 {
            return Ok(Self { start: NonNull::dangling(), n_bytes });
        }
        // A slice can be no longer; the rounding up below stays in range.
        if n_bytes > isize::MAX as usize - 2 * HUGE_PAGE {
            return Err(refused(std::io::ErrorKind::OutOfMemory.into()));
        }
        system::reserve(n_bytes).map(|start| Self { start, n_bytes }).map_err(refused)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `n_bytes` bytes from `start` are ours, readable and initialised (to zero), and `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.n_bytes) }
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `&mut self` keeps everyone else out.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.n_bytes) }
    }

    /// The first byte, at a multiple of [`HUGE_PAGE`]; the memory is valid for reads and writes while the region lives.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    pub fn n_bytes(&self) -> usize {
        self.n_bytes
    }

    /// What is in memory and on huge pages, or `None` if the system does not say. Reads `/proc/self/smaps`: not for often.
    pub fn residency(&self) -> Option<Residency> {
        let smaps = limits::read_file("/proc/self/smaps")?;
        let start = self.start.as_ptr() as u64;
        Some(residency(&smaps, start, start + self.n_bytes as u64))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.n_bytes > 0 {
            // SAFETY: `start` and `n_bytes` are those of `reserve`, and nothing borrows the region any more.
            unsafe { system::give_back(self.start, self.n_bytes) };
        }
    }
}

/// Whether and how the system grants huge pages: `always`, `madvise` or `never`; `None` if it does not say.
pub fn huge_page_policy() -> Option<String> {
    let text = limits::read_file("/sys/kernel/mm/transparent_hugepage/enabled")?;
    chosen(&text).map(str::to_string)
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word)
}

/// Sums over the mappings from `start` to `end`. The system may list a neighbour as one with them, so no more is reported
/// than fits there.
fn residency(smaps: &str, start: u64, end: u64) -> Residency {
    let mut sum = Residency::default();
    let mut is_inside = false;
    for line in smaps.lines() {
        if let Some((from, to)) = mapping(line) {
            is_inside = from < end && to > start;
        } else if is_inside {
            let kib = |key: &str| -> Option<u64> {
                line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.trim().parse().ok()
            };
            sum.bytes_resident += kib("Rss").unwrap_or(0) * 1024;
            sum.bytes_huge += kib("AnonHugePages").unwrap_or(0) * 1024;
        }
    }
    let most = (end - start).next_multiple_of(HUGE_PAGE as u64);
    Residency { bytes_resident: sum.bytes_resident.min(most), bytes_huge: sum.bytes_huge.min(most) }
}

/// The range of a head line, `7f0000000000-7f0000200000 rw-p 00000000 00:00 0`.
fn mapping(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_once(' ')?.0.split_once('-')?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}

mod system {
    use super::HUGE_PAGE;
    use std::io;
    use std::ptr::NonNull;

    /// Maps `n_bytes`, rounded up to whole huge pages, at a multiple of one.
    pub fn reserve(n_bytes: usize) -> io::Result<NonNull<u8>> {
        let n_bytes = n_bytes.next_multiple_of(HUGE_PAGE);
        // Mappings begin anywhere on a page: one huge page more, and the ends cut off.
        let n_mapped = n_bytes + HUGE_PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let mapped =
            unsafe { libc::mmap(std::ptr::null_mut(), n_mapped, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let n_before = mapped.align_offset(HUGE_PAGE);
        // SAFETY: `n_before` is less than a huge page, so the result is inside the mapping.
        let start = unsafe { mapped.byte_add(n_before) };
        // SAFETY: inside the mapping, `n_before + n_bytes <= n_mapped`.
        let end = unsafe { start.byte_add(n_bytes) };
        for (part, n_part) in [(mapped, n_before), (end, HUGE_PAGE - n_before)] {
            if n_part > 0 {
                // SAFETY: the part is ours alone, and outside of what is handed out. (Kept if this fails: address space only.)
                unsafe { libc::munmap(part, n_part) };
            }
        }
        #[cfg(target_os = "linux")]
        // SAFETY: the range is the mapping that remains. Where huge pages cannot be had, the call fails and small ones serve.
        unsafe {
            libc::madvise(start, n_bytes, libc::MADV_HUGEPAGE);
        }
        NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Unmaps it.
    ///
    /// # Safety
    ///
    /// `start` is of `reserve(n_bytes)`, and nothing uses the memory any more.
    pub unsafe fn give_back(start: NonNull<u8>, n_bytes: usize) {
        // SAFETY: the caller's duty; the length is rounded as in `reserve`.
        unsafe { libc::munmap(start.as_ptr().cast(), n_bytes.next_multiple_of(HUGE_PAGE)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_aligned_and_writable_to_its_last_byte() {
        for n_bytes in [0, 1, 4096, HUGE_PAGE - 1, HUGE_PAGE, 5 * HUGE_PAGE + 7] {
            let mut region = Region::new(n_bytes).unwrap();
            assert_eq!(region.n_bytes(), n_bytes);
            assert!(region.as_slice().iter().all(|&byte| byte == 0));
            if let Some(last) = region.as_mut_slice().last_mut() {
                *last = 7;
                assert_eq!(region.as_ptr().as_ptr().align_offset(HUGE_PAGE), 0);
            }
        }
    }

    #[test]
    fn a_reservation_takes_no_memory_until_it_is_touched() {
        let mut region = Region::new(64 << 30).unwrap();
        let Some(before) = region.residency() else { return };
        assert!(before.bytes_resident <= HUGE_PAGE as u64, "{before:?}");
        region.as_mut_slice()[..4 * HUGE_PAGE].fill(1);
        let after = region.residency().unwrap();
        assert!(after.bytes_resident >= 4 * HUGE_PAGE as u64, "{after:?}");
        assert!(after.bytes_huge <= after.bytes_resident, "{after:?}");
    }

    #[test]
    fn refused_with_numbers() {
        for n_bytes in [1 << 55, isize::MAX as usize, usize::MAX] {
            let Err(error) = Region::new(n_bytes) else { panic!("no machine has {n_bytes} bytes") };
            let message = error.to_string();
            assert!(message.starts_with(&format!("cannot reserve {n_bytes} bytes (")), "{message}");
            assert!(message.contains("n_ctx"), "{message}");
        }
    }

    #[test]
    fn huge_page_words() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }

    #[test]
    fn residency_of_the_mappings_in_the_range() {
        let smaps = "1000-2000 r--p 00000000 00:00 0   /x\nRss:       4 kB\n\
                     7f0000000000-7f0000400000 rw-p 00000000 00:00 0 \nSize:   4096 kB\nRss:    2052 kB\n\
                     AnonHugePages:  2048 kB\nVmFlags: rd wr\n\
                     7f0000400000-7f0000401000 rw-p 00000000 00:00 0 \nRss:       4 kB\n";
        let expected = Residency { bytes_resident: 2052 << 10, bytes_huge: 2048 << 10 };
        assert_eq!(residency(smaps, 0x7f00_0000_0000, 0x7f00_0040_0000), expected);
        assert_eq!(residency(smaps, 0x8f00_0000_0000, 0x8f00_0000_1000), Residency::default());
    }
}
