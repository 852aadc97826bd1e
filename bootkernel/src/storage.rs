//! Where the model is: a module in memory or a disk, as the core's [`BlockDevice`], and the image found on it.

use crate::devices::{AnyDisk, Found};
use crate::memory;
use crate::spin::Spin;
use alloc::alloc::{Layout, alloc_zeroed};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use axiom_core::image::MAGIC;
use axiom_core::platform::{BlockDevice, Completion, IoFault};
use bare::boot::Range;
use bare::device::DeviceError;
use bare::partitions::{BYTES_LOOK, partitions};
use core::fmt;

/// A model that was found.
pub struct Source {
    /// Where, in words.
    pub name: String,
    /// The device.
    pub device: Box<dyn BlockDevice>,
    /// Bytes from its beginning to the end of the partition, the disk or the module.
    pub bytes: u64,
}

/// A module: the loader has put all of it into memory.
struct Module {
    range: Range,
    done: Spin<Option<Completion>>,
}

// SAFETY: a request is over when it was accepted, and its completion is kept.
unsafe impl BlockDevice for Module {
    fn align(&self) -> usize {
        1
    }

    fn bytes_request_max(&self) -> usize {
        1 << 30
    }

    fn n_request_max(&self) -> usize {
        1
    }

    fn is_in_order(&self) -> bool {
        true
    }

    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        let mut done = self.done.lock();
        if done.is_some() {
            return false;
        }
        let n = self.range.bytes().saturating_sub(offset).min(bytes as u64) as usize;
        // SAFETY: inside the module; `to` is the caller's duty.
        unsafe { core::ptr::copy_nonoverlapping((self.range.start + offset) as *const u8, to, n) };
        *done = Some(Completion { tag, result: Ok(n) });
        true
    }

    fn poll(&self) -> Option<Completion> {
        self.done.lock().take()
    }

    fn wait(&self) {}
}

/// A part of a disk.
struct Part {
    disk: Spin<AnyDisk>,
    start: u64,
    bytes: u64,
}

// SAFETY: as `Disk` promises. One that was waited for in vain may still write after its completions, which are faults: no slot
// that they were for is computed from, and no read follows.
unsafe impl BlockDevice for Part {
    fn align(&self) -> usize {
        4096
    }

    fn bytes_request_max(&self) -> usize {
        self.disk.lock().driver().bytes_request_max()
    }

    fn n_request_max(&self) -> usize {
        self.disk.lock().driver().n_request_max()
    }

    fn is_in_order(&self) -> bool {
        false
    }

    unsafe fn submit(&self, tag: u32, offset: u64, to: *mut u8, bytes: usize) -> bool {
        debug_assert!(offset + bytes as u64 <= self.bytes.next_multiple_of(4096));
        // SAFETY: the caller's duty.
        unsafe { self.disk.lock().submit(tag.into(), self.start + offset, to, bytes) }
    }

    fn start(&self) {
        self.disk.lock().start();
    }

    fn poll(&self) -> Option<Completion> {
        let (tag, result) = self.disk.lock().poll()?;
        let result = result.map_err(|fault| match fault.error {
            DeviceError::TimedOut { .. } => IoFault { what: "the disk does not answer, and nothing helped", code: 0 },
            DeviceError::Failed { status, .. } => IoFault { what: "the disk failed to read", code: status as i32 },
            DeviceError::Nonsense { .. } => IoFault { what: "the disk answers nonsense", code: 0 },
            DeviceError::Unsupported { .. } => IoFault { what: "the disk has changed", code: 0 },
        });
        Some(Completion { tag: tag as u32, result })
    }

    fn wait(&self) {
        core::hint::spin_loop();
    }
}

/// Aligned memory for reads, for good.
pub fn room(n_byte: usize) -> &'static mut [u8] {
    let layout = Layout::from_size_align(n_byte, 4096).expect("a size that a disk has");
    // SAFETY: not of size zero.
    let block = unsafe { alloc_zeroed(layout) };
    assert!(!block.is_null(), "no memory to read {n_byte} bytes into");
    // SAFETY: as long as asked for, initialised, and never given back.
    unsafe { core::slice::from_raw_parts_mut(block, n_byte) }
}

/// Reads `n_byte` from the beginning of a device, and waits for them.
///
/// # Errors
///
/// What the device says.
pub fn read_start(device: &dyn BlockDevice, n_byte: usize) -> Result<&'static [u8], IoFault> {
    let whole = n_byte.next_multiple_of(4096);
    let bytes = room(whole);
    let most = device.bytes_request_max().min(1 << 20);
    let mut at = 0;
    while at < whole {
        let n = most.min(whole - at);
        // SAFETY: the room is this function's, which waits for the read.
        let is_taken = unsafe { device.submit(0, at as u64, bytes[at..].as_mut_ptr(), n) };
        assert!(is_taken, "one request at a time");
        let completion = loop {
            if let Some(completion) = device.poll() {
                break completion;
            }
            device.wait();
        };
        completion.result?;
        at += n;
    }
    Ok(&bytes[..n_byte])
}

/// Where no image was found.
pub struct Searched {
    looked_at: Vec<String>,
    /// Whether a disk failed: the image may be there.
    pub has_failed: bool,
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.looked_at[..] {
            [] => write!(f, "no model: there is no module, and no disk that can be used")?,
            names => write!(f, "no model: looked at {}, and found no image", names.join(", "))?,
        }
        write!(f, "; give one made with `axiom pack` as a module or a disk")
    }
}

/// The first image, of the modules and then of the disks.
///
/// # Errors
///
/// Where there is none.
pub fn find(modules: &[Range], disks: Vec<Found>) -> Result<Source, Searched> {
    let (mut looked_at, mut has_failed) = (Vec::new(), false);
    for (i, &range) in modules.iter().enumerate() {
        let pages = Range { start: range.start / 4096 * 4096, end: range.end.next_multiple_of(4096) };
        memory::map_memory(pages);
        // SAFETY: mapped; the loader's, and reserved since the memory was looked at.
        let bytes = unsafe { core::slice::from_raw_parts(range.start as *const u8, range.bytes() as usize) };
        let name = alloc::format!("module {i}");
        if bytes.starts_with(MAGIC) {
            let device = Box::new(Module { range, done: Spin::new(None) });
            return Ok(Source { name, device, bytes: range.bytes() });
        }
        looked_at.push(name);
    }
    for Found { name, disk } in disks {
        match on_disk(&name, disk) {
            Ok(source) => return Ok(source),
            Err(Nothing::Failed(fault)) => {
                has_failed = true;
                looked_at.push(alloc::format!("{name} ({fault})"));
            }
            Err(Nothing::There(why)) => looked_at.push(alloc::format!("{name} ({why})")),
        }
    }
    Err(Searched { looked_at, has_failed })
}

/// Why a disk gives no image.
enum Nothing {
    Failed(IoFault),
    There(&'static str),
}

fn on_disk(name: &str, disk: AnyDisk) -> Result<Source, Nothing> {
    let (bytes, bytes_sector) = (disk.bytes(), u64::from(disk.driver().bytes_sector()));
    let mut part = Part { disk: Spin::new(disk), start: 0, bytes };
    let n_look = (bytes / 4096 * 4096).min(BYTES_LOOK as u64) as usize;
    if n_look == 0 {
        return Err(Nothing::There("empty"));
    }
    let look = read_start(&part, n_look).map_err(Nothing::Failed)?;
    if look.starts_with(MAGIC) {
        return Ok(Source { name: name.into(), device: Box::new(part), bytes });
    }
    let mut is_cut_off = false;
    for (i, (start, bytes)) in partitions(look, bytes_sector).enumerate() {
        let is_inside = start.checked_add(bytes).is_some_and(|end| end <= part.bytes);
        is_cut_off |= !is_inside;
        if !is_inside || !start.is_multiple_of(4096) || bytes < 4096 {
            continue;
        }
        let whole = part.bytes;
        (part.start, part.bytes) = (start, bytes);
        let head = read_start(&part, 4096).map_err(Nothing::Failed)?;
        if head.starts_with(MAGIC) {
            let name = alloc::format!("{name}, partition {}", i + 1);
            return Ok(Source { name, device: Box::new(part), bytes });
        }
        (part.start, part.bytes) = (0, whole);
    }
    Err(Nothing::There(match is_cut_off {
        true => "cut off: a partition ends after the disk does",
        false => "no image at its start or at the start of a partition",
    }))
}
