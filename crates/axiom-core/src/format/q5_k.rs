//! Q5_K: 256 weights in 176 bytes. weight = (D × scale) × code − Dmin × min, scale and min for each 32.
//!
//! GGUF block: f16 D; f16 Dmin; 12 bytes of 6-bit scales and minima ([`super::k_scales`]); 32 bytes, bit i of byte c being the
//! fifth bit of code 32i + c; 128 bytes of low halves, laid out as in Q4_K.

use super::codes::Fives;
use super::k_scales;
use super::panel::Quantized;
use super::scales::ScaleMin;
use super::{BlockFormat, Fields, bytes, bytes_at, either, f16_at, f16s, moved, shifted};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q5K;

impl Quantized for Q5K {
    type Codes = Fives;
    type Scales<S: Simd> = ScaleMin<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { k_scales::scales::<S>(meta, i) }
    }
}

impl BlockFormat for Q5K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 176;
    const FIELDS: &'static [Fields] = &[f16s(0, 2), bytes(4, 12)];

    #[inline(always)]
    fn codes(block: &[u8], i: usize) -> [u8; 32] {
        let fifths = moved(bytes_at(block, 16), i, 1, 4);
        either(shifted(bytes_at(block, 48 + i / 2 * 32), i % 2 * 4, 15), fifths)
    }

    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[48 + i / 2 * 32 + c] |= (code & 15) << (i % 2 * 4);
            block[16 + c] |= (code >> 4) << i;
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let (d, d_min) = (f16_at(block, 0), f16_at(block, 2));
        for (i, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = k_scales::scale_min(&block[4..16], i);
            let (scale, min) = (d * f32::from(scale), d_min * f32::from(min));
            for (out, code) in out.iter_mut().zip(Self::codes(block, i)) {
                *out = scale * f32::from(code) - min;
            }
        }
    }
}
