//! A block of 32 quantised activations (`docs/arithmetic.md`, section 3): what a product with weights reads.

use super::BLOCK;

/// 32 quantised values and what goes with them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Block {
    /// The values, −127 … 127.
    pub q: [i8; BLOCK],
    /// Their scale.
    pub d: f32,
    /// `d × sum`.
    pub m: f32,
    /// Sums of the first and the last 16 of `q`: together four bytes, which go into a lane as they are.
    pub s: [i16; 2],
    /// Eight times the sum of all of `q`: what a zero of 8 takes off a product.
    pub eight_sum: i32,
}

impl Block {
    /// `s` as one number of 32 bits.
    #[inline(always)]
    pub fn s_bits(&self) -> i32 {
        i32::from(self.s[0]) & 0xFFFF | i32::from(self.s[1]) << 16
    }
}
