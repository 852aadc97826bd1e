//! The twelve bytes in which Q4_K and Q5_K keep eight 6-bit scales and eight 6-bit minima, and what their panels make of them.

use super::scales::ScaleMin;
use crate::arithmetic::simd::Simd;

/// Scale and minimum of block `i` (0 … 7).
pub fn scale_min(bytes: &[u8], i: usize) -> (u8, u8) {
    if i < 4 {
        (bytes[i] & 63, bytes[i + 4] & 63)
    } else {
        (bytes[i + 4] & 15 | bytes[i - 4] >> 6 << 4, bytes[i + 4] >> 4 | bytes[i] >> 6 << 4)
    }
}

/// The same for 16 rows at once: `meta` is f16 D[16], f16 Dmin[16], then byte j of row r at `64 + 16 j + r`.
///
/// # Safety
///
/// The processor has the instructions of `S`; `meta` is readable for 256 bytes, i < 8.
#[inline(always)]
pub unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> ScaleMin<S> {
    // SAFETY: the caller's duty; bytes 0 … 11 of each row.
    unsafe {
        let bytes = meta.add(64 + 16 * i);
        let (scale, min) = if i < 4 {
            (S::and_q(S::load_q(bytes), 63), S::and_q(S::load_q(bytes.add(64)), 63))
        } else {
            let low = S::load_q(bytes.add(64));
            let scale_top = S::and_q(S::shr_q::<2>(S::load_q(bytes.sub(64))), 0x30);
            let min_top = S::and_q(S::shr_q::<2>(S::load_q(bytes)), 0x30);
            (S::or_q(S::and_q(low, 15), scale_top), S::or_q(S::and_q(S::shr_q::<4>(low), 15), min_top))
        };
        let d = S::load_f16(meta.cast());
        let d_min = S::load_f16(meta.add(32).cast());
        let m = S::mul(d_min, S::to_f(S::unsigned_q(min)));
        ScaleMin { d: S::mul(d, S::to_f(S::unsigned_q(scale))), m: S::sub(S::splat(0.0), m) }
    }
}
