//! F16: IEEE binary16, little-endian.

use super::panel::Plain;
use crate::arithmetic::simd::Simd;

/// F16 weights.
pub struct F16;

impl Plain for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's duty.
        unsafe { S::load_f16(p.cast()) }
    }
}

impl F16 {
    /// A number as f32.
    pub fn number(bytes: &[u8]) -> f32 {
        crate::arithmetic::half::f16_to_f32(u16::from_le_bytes([bytes[0], bytes[1]]))
    }
}
