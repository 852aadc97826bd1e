//! Q4_K: 256 weights in 144 bytes. weight = (D × scale) × code − Dmin × min, scale and min for each 32.
//!
//! GGUF block: f16 D; f16 Dmin; 12 bytes of 6-bit scales and minima ([`super::k_scales`]); 128 bytes, each 32 of which hold 64
//! codes: the first 32 in their low halves, the next 32 in their high halves.

use super::codes::Fours;
use super::k_scales;
use super::panel::Quantized;
use super::scales::ScaleMin;
use super::{BlockFormat, Fields, bytes, bytes_at, f16_at, f16s, shifted};
use crate::arithmetic::simd::Simd;

/// The format.
pub struct Q4K;

impl Quantized for Q4K {
    type Codes = Fours;
    type Scales<S: Simd> = ScaleMin<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty.
        unsafe { k_scales::scales::<S>(meta, i) }
    }
}

impl BlockFormat for Q4K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 144;
    const FIELDS: &'static [Fields] = &[f16s(0, 2), bytes(4, 12)];

    #[inline(always)]
    fn codes(block: &[u8], i: usize) -> [u8; 32] {
        shifted(bytes_at(block, 16 + i / 2 * 32), i % 2 * 4, 15)
    }

    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[16 + i / 2 * 32 + c] |= (code & 15) << (i % 2 * 4);
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
