//! The machine's memory: one long run of it is given out from both ends, and mapped as it is given out.

use crate::exit::{Status, exit};
use crate::line;
use crate::nub::{self, Mapped, Page};
use crate::spin::Spin;
use bare::boot::{BootInfo, Frames, Physical, Range};

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
    map_with(range, largest_page());
}

fn largest_page() -> Page {
    let has_huge = nub::cpuid(0x8000_0001, 0)[3] >> 26 & 1 == 1;
    if has_huge { Page::Huge } else { Page::Large }
}

fn map_with(range: Range, page: Page) {
    let smaller = match page {
        Page::Huge => Some(Page::Large),
        Page::Large => Some(Page::Small),
        Page::Small => None,
    };
    let whole = range.whole_pages(page.bytes());
    if whole.bytes() == 0 {
        if let Some(smaller) = smaller {
            map_with(range, smaller);
        }
        return;
    }
    if let Some(smaller) = smaller {
        for rest in [Range { start: range.start, end: whole.start }, Range { start: whole.end, end: range.end }] {
            if rest.bytes() > 0 {
                map_with(rest, smaller);
            }
        }
    }
    if try_map(whole.start, whole.bytes() / page.bytes(), page, false) {
        return;
    }
    // Some of it is mapped already: page by page, and where a large page covers small ones, by those.
    for start in (whole.start..whole.end).step_by(page.bytes() as usize) {
        if !try_map(start, 1, page, false)
            && let Some(smaller) = smaller
        {
            map_with(Range { start, end: start + page.bytes() }, smaller);
        }
    }
}

/// Maps the registers of a device.
pub fn map_device(address: u64, n_byte: u64) {
    let range = Range { start: address, end: address.saturating_add(n_byte) };
    let start = range.start / Page::Small.bytes() * Page::Small.bytes();
    for page in (start..range.end).step_by(Page::Small.bytes() as usize) {
        try_map(page, 1, Page::Small, true);
    }
}

/// Maps registers from `start` to `end`, at multiples of a large page, with large pages.
pub fn map_device_pages(start: u64, end: u64) {
    try_map(start, (end - start) / Page::Large.bytes(), Page::Large, true);
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
        let end = address.checked_add(n as u64).filter(|end| *end < 1 << 46)?;
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
