//! The machine's memory: one long run of it is given out from both ends, and mapped as it is given out.

use crate::exit::{Status, exit};
use crate::line;
use crate::nub::{self, Mapped, Page};
use crate::spin::Spin;
use bare::boot::{BootInfo, Frames, Physical, Range};
use core::sync::atomic::{AtomicU64, Ordering};

/// Pieces in which the heap grows.
const BYTES_HEAP_PIECE: u64 = 2 << 20;

/// Below this are the loader's and the firmware's own things, which their maps do not always list.
const FLOOR: u64 = 1 << 20;

static FRAMES: Spin<Frames> = Spin::new(Frames::new(Range::EMPTY));

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static __nub_data: u8;
    static __text: u8;
    static __rodata: u8;
}

/// Whether there is code at an address: the nub's or the runtime's.
pub fn is_code(address: u64) -> bool {
    let nub = &raw const __image_start as u64..&raw const __nub_data as u64;
    let runtime = &raw const __text as u64..&raw const __rodata as u64;
    nub.contains(&address) || runtime.contains(&address)
}

/// Where the kernel is.
pub fn image() -> Range {
    Range { start: &raw const __image_start as u64, end: &raw const __image_end as u64 }
}

/// Finds the run: what firmware has, without the kernel and the modules.
pub fn set_up(info: &mut BootInfo) -> Range {
    let taken = |result: Result<(), bare::boot::BootError>| {
        if let Err(error) = result {
            // The line has begun with a sign of life.
            line!("{error}");
            exit(Status::Machine);
        }
    };
    taken(info.memory.reserve(image()));
    for idx in 0..info.modules().len() {
        let module = info.modules()[idx];
        taken(info.memory.reserve(module));
    }
    // A page beyond the processor's addresses is a fault, whatever the map says.
    taken(info.memory.reserve(Range { start: end_of_addresses(), end: u64::MAX }));
    let run = info.memory.longest_run(Page::Large.bytes(), FLOOR);
    *FRAMES.lock() = Frames::new(run);
    run
}

/// Memory that is not given out.
pub fn free() -> Range {
    FRAMES.lock().free()
}

/// A piece for the heap, mapped; a whole number of large pages.
pub fn take_for_heap(n_byte: u64) -> Option<Range> {
    let n_byte = n_byte.checked_next_multiple_of(BYTES_HEAP_PIECE)?;
    let range = FRAMES.lock().take_high(n_byte, Page::Large.bytes())?;
    map_memory(range);
    Some(range)
}

/// Memory for good: zeroed, mapped, at a multiple of a large page.
pub fn take(n_byte: u64) -> Option<Range> {
    let range = take_unmapped(n_byte)?;
    map_memory(range);
    zero(range);
    Some(range)
}

/// Fills mapped memory with zeros.
pub fn zero(range: Range) {
    // SAFETY: mapped, and the caller's alone.
    unsafe { core::ptr::write_bytes(range.start as *mut u8, 0, range.bytes() as usize) };
}

/// Memory for good, as it is, to be mapped by the caller.
pub fn take_unmapped(n_byte: u64) -> Option<Range> {
    let n_byte = n_byte.checked_next_multiple_of(Page::Large.bytes())?;
    FRAMES.lock().take_low(n_byte, Page::Large.bytes())
}

/// Maps memory with the largest pages that it has room for. Pages that were mapped before stay as they are.
pub fn map_memory(range: Range) {
    map_with(range, largest_page(), false);
}

fn largest_page() -> Page {
    let has_huge = nub::cpuid(0x8000_0001, 0)[3] >> 26 & 1 == 1;
    if has_huge { Page::Huge } else { Page::Large }
}

fn map_with(range: Range, page: Page, is_uncached: bool) {
    let smaller = match page {
        Page::Huge => Some(Page::Large),
        Page::Large => Some(Page::Small),
        Page::Small => None,
    };
    let whole = range.whole_pages(page.bytes());
    if whole.bytes() == 0 {
        if let Some(smaller) = smaller {
            map_with(range, smaller, is_uncached);
        }
        return;
    }
    if let Some(smaller) = smaller {
        for rest in [Range { start: range.start, end: whole.start }, Range { start: whole.end, end: range.end }] {
            if rest.bytes() > 0 {
                map_with(rest, smaller, is_uncached);
            }
        }
    }
    if try_map(whole.start, whole.bytes() / page.bytes(), page, is_uncached) {
        return;
    }
    // Some of it is mapped already: page by page, and where a large page covers small ones, by those.
    for start in (whole.start..whole.end).step_by(page.bytes() as usize) {
        if !try_map(start, 1, page, is_uncached)
            && let Some(smaller) = smaller
        {
            map_with(Range { start, end: start + page.bytes() }, smaller, is_uncached);
        }
    }
}

/// Maps the registers of a device. Answers whether they can be read and written now: not where no device can be.
#[must_use]
pub fn map_device(address: u64, n_byte: u64) -> bool {
    let page = Page::Small.bytes();
    let Some(range) = Range::sized(address, n_byte).filter(is_for_devices) else { return false };
    let pages = Range { start: range.start / page * page, end: range.end.next_multiple_of(page) };
    map_with(pages, Page::Large, true);
    true
}

/// Whether a device can be at these addresses: the processor has them, and they are not the kernel's or the first MiB.
pub fn is_for_devices(range: &Range) -> bool {
    range.start >= FLOOR && is_addressable(range)
}

/// Whether the processor has these addresses, and they are not the kernel's. Everywhere else a page can be mapped, or is.
fn is_addressable(range: &Range) -> bool {
    range.end <= end_of_addresses() && (range.end <= image().start || image().end <= range.start)
}

/// Where physical addresses end: a page beyond that is a fault when it is used. Pages are at their physical address, of which
/// half of the processor's virtual ones have room for 47 bits.
fn end_of_addresses() -> u64 {
    const SIZES: u32 = 0x8000_0008;
    // Asked once: under a hypervisor each question is slow.
    static END: AtomicU64 = AtomicU64::new(0);
    if END.load(Ordering::Relaxed) == 0 {
        let says = nub::cpuid(0x8000_0000, 0)[0] >= SIZES;
        // What the first processors with 64 bits had.
        let n_bit = if says { nub::cpuid(SIZES, 0)[0] & 0xff } else { 36 };
        END.store(1 << n_bit.min(47), Ordering::Relaxed);
    }
    END.load(Ordering::Relaxed)
}

fn try_map(address: u64, n_page: u64, page: Page, is_uncached: bool) -> bool {
    match nub::map(address, n_page, page, is_uncached) {
        Mapped::Yes => true,
        Mapped::Refused => false,
        Mapped::NoTables => {
            line!(
                "axiom: no page table is left for {address:#x}; this machine has more memory than the nub has tables"
            );
            exit(Status::Memory);
        }
    }
}

/// Memory by its address, mapped when it is first read: for the tables of loader and firmware.
pub struct Peek;

impl Physical for Peek {
    fn read(&self, address: u64, n: usize) -> Option<&[u8]> {
        let Range { end, .. } = Range::sized(address, n as u64).filter(is_addressable)?;
        if end <= Page::Small.bytes() {
            return nub::page_0().get(address as usize..end as usize);
        }
        if address < Page::Small.bytes() {
            return None;
        }
        let start = address / Page::Small.bytes() * Page::Small.bytes();
        for page in (start..end).step_by(Page::Small.bytes() as usize) {
            try_map(page, 1, Page::Small, false);
        }
        // SAFETY: mapped now or before; addresses of no memory read as ones. Whoever wrote it is done.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, n) })
    }
}
