//! Q8_0: 32 weights in 34 bytes. weight = d × code, the code signed.
//!
//! GGUF block: f16 d; 32 × i8. Panels hold the bytes with their top bit flipped (code + 128), as the unsigned side of the
//! byte products.

use super::codes::Bytes;
use super::panel::Quantized;
use super::scales::Scale;
use super::{BlockFormat, Fields, by_eights, bytes_at, f16_at, f16s};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q8_0;

impl Quantized for Q8_0 {
    type Codes = Bytes;
    type Scales<S: Simd> = Scale<S, 128>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { Scale::load(meta, i) }
    }
}

impl BlockFormat for Q8_0 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 34;
    const FIELDS: &'static [Fields] = &[f16s(0, 1)];

    #[inline(always)]
    fn codes(block: &[u8], _i: usize) -> [u8; 32] {
        by_eights(bytes_at(block, 2), |codes| codes ^ 0x8080_8080_8080_8080)
    }

    fn set_codes(block: &mut [u8], _i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[2 + c] = code ^ 0x80;
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 0);
        for (out, code) in out.iter_mut().zip(Self::codes(block, 0)) {
            *out = d * (i32::from(code) - 128) as f32;
        }
    }
}
