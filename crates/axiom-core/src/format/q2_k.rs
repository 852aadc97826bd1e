//! Q2_K: 256 weights in 84 bytes. weight = (D × scale) × code − Dmin × min, scale and min for each 16.
//!
//! GGUF block: 16 bytes, scale in the low and min in the high half; 64 bytes of bit pairs; f16 D; f16 Dmin. Each 128 weights
//! share 32 bytes: block i of 32 in bit pair i.

use super::codes::Twos;
use super::panel::Quantized;
use super::scales::HalvesMin;
use super::{BlockFormat, Fields, bytes, bytes_at, f16_at, f16s, shifted};
use crate::arithmetic::simd::{Simd, unrolled};

/// The format.
pub struct Q2K;

impl Quantized for Q2K {
    type Codes = Twos;
    type Scales<S: Simd> = HalvesMin<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty; scale bytes 2i and 2i + 1 of 16.
        unsafe {
            let bytes: [S::Q; 2] = unrolled!(2, |h| S::load_q(meta.add(64 + 16 * (2 * i + h))));
            let scale = unrolled!(2, |h| S::unsigned_q(S::and_q(bytes[h], 15)));
            let min = unrolled!(2, |h| S::unsigned_q(S::and_q(S::shr_q::<4>(bytes[h]), 15)));
            HalvesMin::new(S::load_f16(meta.cast()), S::load_f16(meta.add(32).cast()), scale, min)
        }
    }
}

impl BlockFormat for Q2K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 84;
    const FIELDS: &'static [Fields] = &[f16s(80, 2), bytes(0, 16)];

    #[inline(always)]
    fn codes(block: &[u8], i: usize) -> [u8; 32] {
        shifted(bytes_at(block, 16 + i / 4 * 32), i % 4 * 2, 3)
    }

    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[16 + i / 4 * 32 + c] |= (code & 3) << (i % 4 * 2);
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let (d, d_min) = (f16_at(block, 80), f16_at(block, 82));
        for (j, out) in out.chunks_exact_mut(16).enumerate() {
            let (scale, min) = (d * f32::from(block[j] & 15), d_min * f32::from(block[j] >> 4));
            let codes = Self::codes(block, j / 2);
            for (out, code) in out.iter_mut().zip(&codes[j % 2 * 16..]) {
                *out = scale * f32::from(*code) - min;
            }
        }
    }
}
