//! Q5_1: 32 weights in 24 bytes. weight = d × code + m.
//!
//! GGUF block: f16 d; f16 m; u32 whose bit j is the fifth bit of code j; 16 bytes, byte j holds the low four bits of code j in
//! its low and of code j + 16 in its high half.

use super::codes::Fives;
use super::panel::Quantized;
use super::scales::ScaleMin;
use super::{BlockFormat, Fields, bytes_at, either, f16_at, f16s, fifths, halves};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q5_1;

impl Quantized for Q5_1 {
    type Codes = Fives;
    type Scales<S: Simd> = ScaleMin<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { ScaleMin::load(meta, i) }
    }
}

impl BlockFormat for Q5_1 {
    const COLUMNS: usize = 32;
    const BYTES: usize = 24;
    const FIELDS: &'static [Fields] = &[f16s(0, 2)];

    #[inline(always)]
    fn codes(block: &[u8], _i: usize) -> [u8; 32] {
        either(halves(bytes_at(block, 8)), fifths(bytes_at(block, 4)))
    }

    fn set_codes(block: &mut [u8], _i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[8 + c % 16] |= (code & 15) << (c / 16 * 4);
            block[4 + c / 8] |= (code >> 4) << (c % 8);
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let (d, m) = (f16_at(block, 0), f16_at(block, 2));
        for (out, code) in out.iter_mut().zip(Self::codes(block, 0)) {
            *out = d * f32::from(code) + m;
        }
    }
}
