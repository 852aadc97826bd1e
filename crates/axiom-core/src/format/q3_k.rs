//! Q3_K: 256 weights in 110 bytes. weight = (D × (scale − 32)) × (code − 4), scale for each 16.
//!
//! GGUF block: 32 bytes, bit i of byte c being the third bit of code 32i + c; 64 bytes of bit pairs as in Q2_K; 12 bytes of 6-bit
//! scales: low halves of scales 0 … 7 and then 8 … 15 in the halves of the first 8 bytes, upper bit pairs in the last 4; f16 D.

use super::codes::Threes;
use super::panel::Quantized;
use super::scales::Halves;
use super::{BlockFormat, Fields, bytes, bytes_at, either, f16_at, f16s, moved, shifted};
use crate::arithmetic::simd::{Simd, unrolled};

/// The format.
pub struct Q3K;

impl Quantized for Q3K {
    type Codes = Threes;
    type Scales<S: Simd> = Halves<S>;

    #[inline(always)]
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S> {
        // SAFETY: the caller's duty; scales 2i and 2i + 1 of 16, in bytes 0 … 11.
        unsafe {
            let bytes = meta.add(32);
            let scale = unrolled!(2, |h| {
                let j = 2 * i + h;
                let low = S::load_q(bytes.add(16 * (j % 8)));
                let low = S::and_q(if j < 8 { low } else { S::shr_q::<4>(low) }, 15);
                let pairs = S::load_q(bytes.add(16 * (8 + j % 4)));
                let high = match j / 4 {
                    0 => S::shl_q::<4>(pairs),
                    1 => S::shl_q::<2>(pairs),
                    2 => pairs,
                    _ => S::shr_q::<2>(pairs),
                };
                S::sub_i(S::unsigned_q(S::or_q(low, S::and_q(high, 0x30))), S::splat_i(32))
            });
            Halves::new::<4>(S::load_f16(meta.cast()), scale)
        }
    }
}

impl BlockFormat for Q3K {
    const COLUMNS: usize = 256;
    const BYTES: usize = 110;
    const FIELDS: &'static [Fields] = &[f16s(108, 1), bytes(96, 12)];

    #[inline(always)]
    fn codes(block: &[u8], i: usize) -> [u8; 32] {
        let thirds = moved(bytes_at(block, 0), i, 1, 2);
        either(shifted(bytes_at(block, 32 + i / 4 * 32), i % 4 * 2, 3), thirds)
    }

    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]) {
        for (c, code) in codes.iter().enumerate() {
            block[32 + i / 4 * 32 + c] |= (code & 3) << (i % 4 * 2);
            block[c] |= (code >> 2) << i;
        }
    }

    fn dequantize(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 108);
        for (j, out) in out.chunks_exact_mut(16).enumerate() {
            let low = if j < 8 { block[96 + j] & 15 } else { block[88 + j] >> 4 };
            let high = block[104 + j % 4] >> (j / 4 * 2) & 3;
            let scale = d * (i32::from(low | high << 4) - 32) as f32;
            let codes = Self::codes(block, j / 2);
            for (out, code) in out.iter_mut().zip(&codes[j % 2 * 16..]) {
                *out = scale * (i32::from(*code) - 4) as f32;
            }
        }
    }
}
