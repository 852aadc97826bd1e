//! F32: IEEE binary32, little-endian.

use super::panel::Plain;
use crate::arithmetic::simd::Simd;

/// F32 weights.
pub struct F32;

impl Plain for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's duty.
        unsafe { S::load(p.cast()) }
    }
}

impl F32 {
    /// A number as f32.
    pub fn number(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}
