//! Physical memory: the map that firmware gives, what is left of it, and who gets which part.

use super::BootError;

/// Most ranges of a map: UEFI lists some hundred.
pub const N_RANGE: usize = 512;

/// Addresses from `start` up to, but without, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

impl Range {
    /// No address.
    pub const EMPTY: Range = Range { start: 0, end: 0 };

    /// The range, if `start` is not past `end`.
    pub fn new(start: u64, end: u64) -> Option<Range> {
        (start <= end).then_some(Range { start, end })
    }

    /// The range of `bytes` from `start` on, if it does not wrap.
    pub fn sized(start: u64, bytes: u64) -> Option<Range> {
        Some(Range { start, end: start.checked_add(bytes)? })
    }

    /// Bytes in it.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// The whole pages of `page` bytes inside.
    pub fn whole_pages(&self, page: u64) -> Range {
        let end = self.end / page * page;
        let start = self.start.checked_next_multiple_of(page).map_or(end, |start| start.min(end));
        Range { start, end }
    }

    /// What is left of it below and above `other`.
    fn without(&self, other: &Range) -> [Range; 2] {
        let cut = |start: u64, end: u64| Range::new(start, end).unwrap_or(Range::EMPTY);
        if other.end <= self.start || other.start >= self.end {
            return [*self, Range::EMPTY];
        }
        [cut(self.start, other.start), cut(other.end, self.end)]
    }
}

/// What firmware says of memory: in any order, with overlaps, with entries that say nothing.
pub struct MemoryMap {
    usable: [Range; N_RANGE],
    n_usable: usize,
    reserved: [Range; N_RANGE],
    n_reserved: usize,
}

impl Default for MemoryMap {
    fn default() -> Self {
        MemoryMap::new()
    }
}

impl MemoryMap {
    /// Nothing is known.
    pub const fn new() -> MemoryMap {
        MemoryMap { usable: [Range::EMPTY; N_RANGE], n_usable: 0, reserved: [Range::EMPTY; N_RANGE], n_reserved: 0 }
    }

    /// Adds an entry of the map. An empty one says nothing; one that wraps around ends where addresses do.
    ///
    /// # Errors
    ///
    /// [`BootError::TooMany`].
    pub fn add(&mut self, start: u64, bytes: u64, is_usable: bool) -> Result<(), BootError> {
        let range = Range { start, end: start.saturating_add(bytes) };
        if bytes == 0 {
            return Ok(());
        }
        let (list, n) =
            if is_usable { (&mut self.usable, &mut self.n_usable) } else { (&mut self.reserved, &mut self.n_reserved) };
        *list.get_mut(*n).ok_or(BootError::TooMany { name: "ranges of memory", most: N_RANGE })? = range;
        *n += 1;
        Ok(())
    }

    /// Marks a range as taken: the image, a module.
    ///
    /// # Errors
    ///
    /// [`BootError::TooMany`].
    pub fn reserve(&mut self, range: Range) -> Result<(), BootError> {
        self.add(range.start, range.bytes(), false)
    }

    /// Bytes of memory, as firmware counts them.
    pub fn bytes_usable(&self) -> u64 {
        self.usable[..self.n_usable].iter().map(Range::bytes).sum()
    }

    /// Whether all of `range` is usable and nobody's.
    pub fn is_free(&self, range: &Range) -> bool {
        let within = |usable: &Range| usable.start <= range.start && range.end <= usable.end;
        let apart = |reserved: &Range| reserved.end <= range.start || reserved.start >= range.end;
        self.usable[..self.n_usable].iter().any(within) && self.reserved[..self.n_reserved].iter().all(apart)
    }

    /// The longest run of addresses in `within` that the map does not mention: where devices may be placed.
    pub fn longest_hole(&self, within: Range) -> Range {
        let mut best = Range::EMPTY;
        let mut start = within.start;
        while start < within.end {
            let all = || self.usable[..self.n_usable].iter().chain(&self.reserved[..self.n_reserved]);
            if let Some(over) = all().find(|range| range.start <= start && start < range.end) {
                start = over.end;
                continue;
            }
            let next = all().map(|range| range.start).filter(|&next| next > start).min().unwrap_or(u64::MAX);
            let hole = Range { start, end: next.min(within.end) };
            if hole.bytes() > best.bytes() {
                best = hole;
            }
            start = hole.end;
        }
        best
    }

    /// The longest run of whole pages of `page` bytes that is usable, nobody's, and at or above `floor`.
    pub fn longest_run(&self, page: u64, floor: u64) -> Range {
        let mut best = Range::EMPTY;
        for usable in &self.usable[..self.n_usable] {
            // Neighbours that firmware lists apart are one run.
            let mut run = *usable;
            while let Some(next) =
                self.usable[..self.n_usable].iter().find(|next| next.start <= run.end && next.end > run.end)
            {
                run.end = next.end;
            }
            run.start = run.start.max(floor).min(run.end);
            // What is reserved cuts the run; the pieces below each cut are done, the piece above goes on.
            loop {
                let first_cut = self.reserved[..self.n_reserved]
                    .iter()
                    .filter(|cut| cut.start < run.end && cut.end > run.start)
                    .min();
                let [below, above] = first_cut.map_or([run, Range::EMPTY], |cut| run.without(cut));
                let pages = below.whole_pages(page);
                if pages.bytes() > best.bytes() {
                    best = pages;
                }
                if above.bytes() == 0 {
                    break;
                }
                run = above;
            }
        }
        best
    }
}

/// A run of memory, given out from both ends and never given back: what the kernel needs for itself from below, what only
/// initialisation needs from above.
#[derive(Debug)]
pub struct Frames {
    free: Range,
}

impl Frames {
    /// The run.
    pub const fn new(run: Range) -> Frames {
        Frames { free: run }
    }

    /// What is left.
    pub fn free(&self) -> Range {
        self.free
    }

    /// The lowest `bytes`, at a multiple of `align`.
    pub fn take_low(&mut self, bytes: u64, align: u64) -> Option<Range> {
        let start = self.free.start.checked_next_multiple_of(align)?;
        let taken = Range::sized(start, bytes).filter(|taken| taken.end <= self.free.end)?;
        self.free.start = taken.end;
        Some(taken)
    }

    /// The highest `bytes`, at a multiple of `align`.
    pub fn take_high(&mut self, bytes: u64, align: u64) -> Option<Range> {
        let start = self.free.end.checked_sub(bytes)? / align * align;
        if start < self.free.start {
            return None;
        }
        self.free.end = start;
        Range::sized(start, bytes)
    }
}
