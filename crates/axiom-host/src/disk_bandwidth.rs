//! How fast a file is read as an engine reads it while it streams: the most that decoding can reach where weights come from
//! the disk.
//!
//! The same requests, as many at a time, into the same kind of buffer: whole pages of a region, over and over the same few,
//! one behind the other in the file, and from its beginning again at its end.

use crate::disk::{ALIGN, Disk};
use crate::region::Region;
use axiom_core::platform::BlockDevice;
use axiom_core::stream::BYTES_REQUEST;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Requests at a time, as many as two layers of an ordinary model are cut into.
const N_REQUEST: usize = 64;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiskBandwidth {
    /// Bytes read in a second.
    pub bytes_per_second: f64,
    /// Whether reads went past the page cache.
    pub is_direct: bool,
}

/// Reads a file for about so long.
///
/// # Errors
///
/// Those of opening and reading the file, also where it is shorter than a request, and of reserving buffers.
pub fn disk_bandwidth(path: &Path, limit: Duration) -> io::Result<DiskBandwidth> {
    let n_piece = std::fs::metadata(path)?.len() / BYTES_REQUEST as u64;
    if n_piece == 0 {
        let least = BYTES_REQUEST >> 20;
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the file is shorter than {least} MiB")));
    }
    let buffers = Region::new(N_REQUEST * BYTES_REQUEST).map_err(io::Error::other)?;
    debug_assert!(buffers.as_ptr().as_ptr().addr().is_multiple_of(ALIGN));
    // Dropped before the buffers.
    let disk = Disk::open(path)?;
    let submit = |number: u64, slot: usize| {
        // SAFETY: a buffer of its own for every request under way, which nobody else uses.
        unsafe {
            let to = buffers.as_ptr().as_ptr().add(slot * BYTES_REQUEST);
            disk.submit(slot as u32, number % n_piece * BYTES_REQUEST as u64, to, BYTES_REQUEST)
        }
    };
    let (mut n_asked, mut n_pending) = (0, 0);
    while n_pending < N_REQUEST && submit(n_asked, n_pending) {
        n_asked += 1;
        n_pending += 1;
    }
    // The clock runs from the moment that each buffer has been read into once, so that the system has given it memory, to the
    // last answer before the limit; what is then under way is awaited, and does not count.
    let (mut n_done, mut start, mut end, mut bytes) = (0, Instant::now(), Instant::now(), 0);
    while n_pending > 0 {
        let Some(done) = disk.poll() else {
            disk.wait();
            continue;
        };
        n_pending -= 1;
        n_done += 1;
        let came = done.result.map_err(|fault| io::Error::other(fault.to_string()))?;
        let is_over = n_done > N_REQUEST && start.elapsed() > limit;
        if n_done == N_REQUEST {
            start = Instant::now();
        } else if n_done > N_REQUEST && !(is_over && bytes > 0) {
            bytes += came;
            end = Instant::now();
        }
        if !is_over && submit(n_asked, done.tag as usize) {
            n_asked += 1;
            n_pending += 1;
        }
    }
    let seconds = end.duration_since(start).as_secs_f64();
    Ok(DiskBandwidth { bytes_per_second: bytes as f64 / seconds, is_direct: disk.is_direct() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_speed_and_a_short_or_missing_one_has_none() {
        let path = std::env::temp_dir().join(format!("axiom-disk-bandwidth-{}", std::process::id()));
        std::fs::write(&path, vec![1u8; 5 * BYTES_REQUEST / 2]).unwrap();
        let measured = disk_bandwidth(&path, Duration::from_millis(50)).unwrap();
        std::fs::write(&path, vec![1u8; BYTES_REQUEST - 1]).unwrap();
        let short = disk_bandwidth(&path, Duration::ZERO).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(measured.bytes_per_second > 1e6, "{measured:?}");
        assert_eq!(short.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(disk_bandwidth(&path, Duration::ZERO).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
