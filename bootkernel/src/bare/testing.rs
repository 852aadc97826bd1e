//! What the tests share: memory by its address, a clock that runs when it is looked at, numbers that repeat.

use crate::boot::Physical;
use std::cell::Cell;
use std::vec::Vec;

/// Bytes at an address; everything else is not memory.
pub struct Bytes {
    pub address: u64,
    pub bytes: Vec<u8>,
}

impl Physical for Bytes {
    fn read(&self, address: u64, n: usize) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(self.address)?).ok()?;
        self.bytes.get(start..start.checked_add(n)?)
    }
}

impl Bytes {
    pub fn write(&mut self, address: u64, content: &[u8]) {
        let start = (address - self.address) as usize;
        self.bytes[start..start + content.len()].copy_from_slice(content);
    }
}

std::thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// A millisecond later at every look.
pub fn clock() -> u64 {
    NOW.with(|now| {
        now.set(now.get() + 1000);
        now.get()
    })
}

/// The machine stands still, while time goes on.
pub fn stop(us: u64) {
    NOW.with(|now| now.set(now.get() + us));
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Pages for a driver, and the owner that frees them.
pub fn shared(n_byte: usize) -> crate::device::Shared {
    let layout = std::alloc::Layout::from_size_align(n_byte, 4096).unwrap();
    // SAFETY: not of size zero; leaked, so that it is there for ever.
    unsafe { crate::device::Shared::new(std::alloc::alloc_zeroed(layout), n_byte) }
}
