//! BF16: the upper half of binary32, little-endian.

use super::panel::Plain;
use crate::arithmetic::simd::Simd;

/// Bf16 weights.
pub struct Bf16;

impl Plain for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's duty.
        unsafe { S::load_bf16(p.cast()) }
    }
}

impl Bf16 {
    /// A number as f32.
    pub fn number(bytes: &[u8]) -> f32 {
        crate::arithmetic::half::bf16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}
