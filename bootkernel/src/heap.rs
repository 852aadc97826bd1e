//! Memory for initialisation: tables of tokenizers, queues of devices, the engine's own small parts. When all is built the
//! heap is sealed: from then on an allocation is a mistake that ends the machine.

use crate::backtrace::backtrace_here;
use crate::exit::{Status, exit, take_last_word};
use crate::memory;
use crate::spin::Spin;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Sizes that are kept apart: four for each doubling, so that at most a fifth is lost to rounding.
const N_CLASS: usize = 4 * 40;

/// The smallest block: it holds a pointer when it is free.
const SMALLEST: usize = 16;

/// Blocks begin at multiples of one of these; blocks of a stricter layout are not used again.
const ALIGNS: [usize; 2] = [SMALLEST, 64];

struct Heap {
    /// Freed blocks of each alignment and class, each holding the address of the next.
    free: [[usize; N_CLASS]; ALIGNS.len()],
    /// Memory that has not been given out yet.
    fresh: usize,
    end: usize,
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;
static HEAP: Spin<Heap> = Spin::new(Heap { free: [[0; N_CLASS]; ALIGNS.len()], fresh: 0, end: 0 });
static IS_SEALED: AtomicBool = AtomicBool::new(false);
static N_ALLOCATION: AtomicU64 = AtomicU64::new(0);
/// Bytes of the last allocation, if there was no memory for it; else 0.
static BYTES_REFUSED: AtomicUsize = AtomicUsize::new(0);

/// From now on an allocation is a fault.
pub fn seal() {
    IS_SEALED.store(true, Ordering::SeqCst);
}

/// Lets allocations through again, for the end: nothing of this is in the token path.
pub fn unseal() {
    IS_SEALED.store(false, Ordering::SeqCst);
}

/// Allocations so far.
pub fn n_allocation() -> u64 {
    N_ALLOCATION.load(Ordering::Relaxed)
}

/// Bytes for which there was no memory, if that was the last that was asked for: then it is why a panic comes.
pub fn bytes_refused() -> Option<usize> {
    Some(BYTES_REFUSED.load(Ordering::Relaxed)).filter(|&n_byte| n_byte > 0)
}

/// The class of blocks that hold `n_byte`, and their size.
fn class(n_byte: usize) -> Option<(usize, usize)> {
    let n_byte = n_byte.max(SMALLEST);
    let power = (n_byte - 1).ilog2().max(3) as usize;
    // In quarters of the power of two below.
    let quarter = 1 << (power - 2);
    let n_quarter = n_byte.div_ceil(quarter);
    let idx = (power - 3) * 4 + (n_quarter - 5);
    (idx < N_CLASS).then_some((idx, n_quarter * quarter))
}

/// Which of [`ALIGNS`] a layout is served with, if any is strict enough.
fn alignment(layout: Layout) -> Option<usize> {
    ALIGNS.iter().position(|&align| layout.align() <= align)
}

impl Heap {
    fn take(&mut self, layout: Layout) -> *mut u8 {
        let Some((idx, n_byte)) = class(layout.size()) else { return null_mut() };
        let align = alignment(layout);
        if let Some(align) = align
            && self.free[align][idx] != 0
        {
            let block = self.free[align][idx] as *mut usize;
            // SAFETY: a freed block, which holds the address of the next.
            self.free[align][idx] = unsafe { block.read() };
            return block.cast();
        }
        let multiple = align.map_or(layout.align(), |align| ALIGNS[align]);
        let fresh = |heap: &Heap| {
            let start = heap.fresh.checked_next_multiple_of(multiple)?;
            Some((start, start.checked_add(n_byte)?)).filter(|(_, end)| *end <= heap.end)
        };
        let found = fresh(self).or_else(|| {
            // What is left of the last piece is lost: pieces are large.
            let piece = memory::take_for_heap((n_byte + layout.align()) as u64)?;
            (self.fresh, self.end) = (piece.start as usize, piece.end as usize);
            fresh(self)
        });
        let Some((start, end)) = found else { return null_mut() };
        self.fresh = end;
        start as *mut u8
    }
}

// SAFETY: blocks come from memory that is nobody else's, are as long and as aligned as asked for, and are given out again
// only after they were freed.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_SEALED.load(Ordering::Relaxed) {
            take_last_word();
            crate::line!(
                "axiom: allocation of {} bytes after initialisation; nothing may allocate there",
                layout.size()
            );
            backtrace_here();
            crate::progress::report();
            exit(Status::Allocation);
        }
        N_ALLOCATION.fetch_add(1, Ordering::Relaxed);
        let block = HEAP.lock().take(layout);
        BYTES_REFUSED.store(if block.is_null() { layout.size() } else { 0 }, Ordering::Relaxed);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (Some(align), Some((idx, _))) = (alignment(layout), class(layout.size())) else { return };
        let mut heap = HEAP.lock();
        // SAFETY: the block is the caller's to give back, and has room for a pointer.
        unsafe { block.cast::<usize>().write(heap.free[align][idx]) };
        heap.free[align][idx] = block as usize;
    }
}
