//! Q5_0: 32 weights in 22 bytes. weight = d × (code − 16).
//!
//! GGUF block: f16 d; u32 whose bit j is the fifth bit of code j; 16 bytes, byte j holds the low four bits of code j in its low
//! and of code j + 16 in its high half.

use super::codes::Fives;
use super::panel::Quantized;
use super::scales::Scale;
use super::{BlockFormat, Fields, bytes_at, either, f16_at, f16s, fifths, halves};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q5_0;

impl Quantized for Q5_0 {
    type Codes = Fives;
    type Scales<S: Simd> = Scale<S, 16>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { Scale::load(meta, i) }
    }
}

impl BlockFormat for Q5_0 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 22;
    const FIELDS: &'static [Fields] = &[f16s(0, 1)];

    #[inline(always)]
    fn codes(block: &[u8], _i: usize) -> [u8; 32] {
        either(halves(bytes_at(block, 6)), fifths(bytes_at(block, 2)))
    }

    fn set_codes(block: &mut [u8], _i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[6 + c % 16] |= (code & 15) << (c / 16 * 4);
            block[2 + c / 8] |= (code >> 4) << (c % 8);
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 0);
        for (out, code) in out.iter_mut().zip(Self::codes(block, 0)) {
            *out = d * (i32::from(code) - 16) as f32;
        }
    }
}
