//! Q6_K: 256 weights in 210 bytes. weight = (D × scale) × (code − 32), scale for each 16.
//!
//! GGUF block: 128 bytes of low halves; 64 bytes of upper bit pairs; 16 × i8 scales; f16 D. Each 128 weights share 64 of the
//! first and 32 of the second: blocks 0, 1 of 32 in the low halves, blocks 2, 3 in the high halves; block i in bit pair i.

use super::codes::Sixes;
use super::panel::Quantized;
use super::scales::Halves;
use super::{BlockFormat, Fields, bytes, bytes_at, either, f16_at, f16s, moved, shifted};
use crate::arithmetic::simd::{Simd, unrolled};

/// The format.
pub struct Q6K;

impl Quantized for Q6K {
    type Codes = Sixes;
    type Scales<S: Simd> = Halves<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty; scales 2i and 2i + 1 of 16.
        unsafe {
            let scales = meta.add(32 + 32 * i);
            let scales = unrolled!(2, |h| S::signed_q(S::load_q(scales.add(16 * h))));
            Halves::new::<32>(S::load_f16(meta.cast()), scales)
        }
    }
}

impl BlockFormat for Q6K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 210;
    const FIELDS: &'static [Fields] = &[f16s(208, 1), bytes(192, 16)];

    #[inline(always)]
    fn codes(block: &[u8], i: usize) -> [u8; 32] {
        let (half, quarter) = (i / 4, i % 4);
        let low = shifted(bytes_at(block, 64 * half + quarter % 2 * 32), quarter / 2 * 4, 15);
        let high = moved(bytes_at(block, 128 + 32 * half), 2 * quarter, 3, 4);
        either(low, high)
    }

    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]) {
        let (half, quarter) = (i / 4, i % 4);
        for (c, code) in codes.iter().enumerate() {
            block[64 * half + quarter % 2 * 32 + c] |= (code & 15) << (quarter / 2 * 4);
            block[128 + 32 * half + c] |= (code >> 4) << (2 * quarter);
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 208);
        for (j, out) in out.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(block[192 + j] as i8);
            let codes = Self::codes(block, j / 2);
            for (out, code) in out.iter_mut().zip(&codes[j % 2 * 16..]) {
                *out = scale * (i32::from(*code) - 32) as f32;
            }
        }
    }
}
