//! Q4_0: 32 weights in 18 bytes. weight = d × (code − 8).
//!
//! GGUF block: f16 d; 16 bytes, byte j holds code j in its low and code j + 16 in its high half.

use super::codes::Fours;
use super::panel::Quantized;
use super::scales::Scale;
use super::{BlockFormat, Fields, bytes_at, f16_at, f16s, halves};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q4_0;

impl Quantized for Q4_0 {
    type Codes = Fours;
    type Scales<S: Simd> = Scale<S, 8>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { Scale::load(meta, i) }
    }
}

impl BlockFormat for Q4_0 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 18;
    const FIELDS: &'static [Fields] = &[f16s(0, 1)];

    #[inline(always)]
    fn codes(block: &[u8], _i: usize) -> [u8; 32] {
        halves(bytes_at(block, 2))
    }

    fn set_codes(block: &mut [u8], _i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[2 + c % 16] |= (code & 15) << (c / 16 * 4);
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 0);
        for (out, code) in out.iter_mut().zip(Self::codes(block, 0)) {
            *out = d * (i32::from(code) - 8) as f32;
        }
    }
}
