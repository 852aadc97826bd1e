//! SSE2: what every x86-64 processor has. Sixteen lanes are four registers; bytes are widened to 16 bits to be multiplied.

use super::block::Block;
use super::half::f32_to_f16;
use super::simd::{ByteProducts, Simd, simd_ops, unrolled};
use core::arch::x86_64::*;

/// SSE2.
#[derive(Clone, Copy)]
pub struct Sse2;

/// `mask ? x : y`, bit by bit.
#[inline(always)]
fn blend(mask: __m128i, x: __m128i, y: __m128i) -> __m128i {
    // SAFETY: SSE2 is part of x86-64.
    unsafe { _mm_or_si128(_mm_and_si128(mask, x), _mm_andnot_si128(mask, y)) }
}

/// `Σ w × x`. Even and odd bytes of `w` are widened to 16 bits apart, as they are, or `SIGNED` after their top bit is flipped:
/// the two products of a 32-bit lane are then those of one row.
#[inline(always)]
unsafe fn sums<const T: usize, const N: usize, const SIGNED: bool>(
    w: &[[__m128i; 4]; N],
    x: *const Block,
    at: usize,
) -> [[__m128i; 4]; T] {
    // SAFETY: SSE2 is part of x86-64; `at + 4N` is at most 32 (contract of `Simd::dots`).
    unsafe {
        let mut sums = [[_mm_setzero_si128(); 4]; T];
        for g in 0..N {
            let mut columns = [[_mm_setzero_si128(); 2]; T];
            for t in 0..T {
                let four = (&raw const (*x.add(t)).q).cast::<u8>().add(at + 4 * g).cast::<i32>().read_unaligned();
                let four = _mm_set1_epi32(four);
                columns[t] = [_mm_srai_epi16::<8>(_mm_slli_epi16::<8>(four)), _mm_srai_epi16::<8>(four)];
            }
            for quarter in 0..4 {
                let w = w[g][quarter];
                let wide = if SIGNED {
                    let w = _mm_xor_si128(w, _mm_set1_epi8(-128));
                    [_mm_srai_epi16::<8>(_mm_slli_epi16::<8>(w)), _mm_srai_epi16::<8>(w)]
                } else {
                    [_mm_and_si128(w, _mm_set1_epi16(255)), _mm_srli_epi16::<8>(w)]
                };
                for t in 0..T {
                    for parity in 0..2 {
                        let products = _mm_madd_epi16(wide[parity], columns[t][parity]);
                        sums[t][quarter] = _mm_add_epi32(sums[t][quarter], products);
                    }
                }
            }
        }
        sums
    }
}

// SAFETY: each method is the instruction of its name, on all quarters; pointers are used as the trait says.
unsafe impl Simd for Sse2 {
    type F = [__m128; 4];
    type Q = __m128i;

    const TILE: usize = 2;
    const QUERIES: usize = 2;
    const TWO_STREAMS: bool = false;

    simd_ops! {
        fn splat(x: f32) -> Self::F { [_mm_set1_ps(x); 4] }
        fn load(p: *const f32) -> Self::F { unrolled!(4, |i| _mm_loadu_ps(p.add(4 * i))) }
        fn store(p: *mut f32, x: Self::F) {
            for (i, x) in x.into_iter().enumerate() {
                _mm_storeu_ps(p.add(4 * i), x);
            }
        }
        fn load_f16(p: *const u16) -> Self::F {
            // Exponent and mantissa moved into place as an f32 that is 2^112 too small (exact for subnormals too),
            // the exponent of infinities and NaNs filled up, the sign put back.
            unrolled!(4, |i| {
                let h = _mm_unpacklo_epi16(_mm_loadl_epi64(p.add(4 * i).cast()), _mm_setzero_si128());
                let magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7FFF));
                let scaled = _mm_mul_ps(
                    _mm_castsi128_ps(_mm_slli_epi32::<13>(magnitude)),
                    _mm_castsi128_ps(_mm_set1_epi32(0x7780_0000)),
                );
                let special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7BFF));
                let special = _mm_and_si128(special, _mm_set1_epi32(0x7F80_0000));
                let sign = _mm_slli_epi32::<16>(_mm_andnot_si128(_mm_set1_epi32(0x7FFF), h));
                _mm_castsi128_ps(_mm_or_si128(_mm_or_si128(_mm_castps_si128(scaled), special), sign))
            })
        }
        fn load_bf16(p: *const u16) -> Self::F {
            unrolled!(4, |i| {
                let h = _mm_loadl_epi64(p.add(4 * i).cast());
                _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), h))
            })
        }
        fn store_f16(p: *mut u16, x: Self::F) {
            let mut lanes = [0f32; 16];
            Self::store(lanes.as_mut_ptr(), x);
            p.cast::<[u16; 16]>().write_unaligned(lanes.map(f32_to_f16))
        }
        fn add(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| _mm_add_ps(a[i], b[i])) }
        fn sub(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| _mm_sub_ps(a[i], b[i])) }
        fn mul(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| _mm_mul_ps(a[i], b[i])) }
        fn div(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| _mm_div_ps(a[i], b[i])) }
        fn sqrt(a: Self::F) -> Self::F { unrolled!(4, |i| _mm_sqrt_ps(a[i])) }
        fn max(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| _mm_max_ps(a[i], b[i])) }
        fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
            unrolled!(4, |i| {
                let mask = _mm_castps_si128(_mm_cmplt_ps(a[i], b[i]));
                _mm_castsi128_ps(blend(mask, _mm_castps_si128(x[i]), _mm_castps_si128(y[i])))
            })
        }
        fn keep_nan(a: Self::F, y: Self::F) -> Self::F {
            unrolled!(4, |i| {
                let mask = _mm_castps_si128(_mm_cmpunord_ps(a[i], a[i]));
                _mm_castsi128_ps(blend(mask, _mm_castps_si128(a[i]), _mm_castps_si128(y[i])))
            })
        }
        fn tree_sum(a: Self::F) -> f32 {
            let a = [_mm_add_ps(a[0], a[2]), _mm_add_ps(a[1], a[3])];
            let a = _mm_add_ps(a[0], a[1]);
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
        }
        fn tree_max(a: Self::F) -> f32 {
            let a = _mm_max_ps(_mm_max_ps(a[0], a[2]), _mm_max_ps(a[1], a[3]));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
        }

        fn splat_i(x: i32) -> Self::I { [_mm_set1_epi32(x); 4] }
        fn add_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| _mm_add_epi32(a[i], b[i])) }
        fn sub_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| _mm_sub_epi32(a[i], b[i])) }
        fn mul_i(a: Self::I, b: Self::I) -> Self::I {
            // SSE2 multiplies lanes 0 and 2 only, to 64 bits; the low halves are right for signed numbers too.
            unrolled!(4, |i| {
                let even = _mm_mul_epu32(a[i], b[i]);
                let odd = _mm_mul_epu32(_mm_srli_si128::<4>(a[i]), _mm_srli_si128::<4>(b[i]));
                let even = _mm_shuffle_epi32::<0b00_00_10_00>(even);
                let odd = _mm_shuffle_epi32::<0b00_00_10_00>(odd);
                _mm_unpacklo_epi32(even, odd)
            })
        }
        fn shl_i<const N: i32>(a: Self::I) -> Self::I { unrolled!(4, |i| _mm_slli_epi32::<N>(a[i])) }
        fn max_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| blend(_mm_cmpgt_epi32(a[i], b[i]), a[i], b[i])) }
        fn pair_i(low: Self::I, high: Self::I) -> Self::I {
            let mask = _mm_set1_epi32(0xFFFF);
            unrolled!(4, |i| _mm_or_si128(_mm_and_si128(low[i], mask), _mm_slli_epi32::<16>(high[i])))
        }
        fn dot_pairs(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| _mm_madd_epi16(a[i], b[i])) }
        fn and_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| _mm_and_si128(a[i], b[i])) }
        fn to_f(a: Self::I) -> Self::F { unrolled!(4, |i| _mm_cvtepi32_ps(a[i])) }
        fn round_to_i(a: Self::F) -> Self::I { unrolled!(4, |i| _mm_cvtps_epi32(a[i])) }
        fn bits(a: Self::F) -> Self::I { unrolled!(4, |i| _mm_castps_si128(a[i])) }
        fn from_bits(a: Self::I) -> Self::F { unrolled!(4, |i| _mm_castsi128_ps(a[i])) }
        fn store_i8(p: *mut i8, a: Self::I) {
            let bytes = _mm_packs_epi16(_mm_packs_epi32(a[0], a[1]), _mm_packs_epi32(a[2], a[3]));
            _mm_storeu_si128(p.cast(), bytes)
        }
        fn sum_i(a: Self::I) -> i32 {
            let a = _mm_add_epi32(_mm_add_epi32(a[0], a[2]), _mm_add_epi32(a[1], a[3]));
            let a = _mm_add_epi32(a, _mm_shuffle_epi32::<0b01_00_11_10>(a));
            _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32::<1>(a)))
        }
        fn tree_max_i(a: Self::I) -> i32 {
            let mut lanes = [0i32; 16];
            for (i, a) in a.into_iter().enumerate() {
                _mm_storeu_si128(lanes.as_mut_ptr().add(4 * i).cast(), a);
            }
            lanes.into_iter().fold(i32::MIN, i32::max)
        }

        fn load_b(p: *const u8) -> Self::B { unrolled!(4, |i| _mm_loadu_si128(p.add(16 * i).cast())) }
        fn and_b(a: Self::B, m: u8) -> Self::B { unrolled!(4, |i| _mm_and_si128(a[i], _mm_set1_epi8(m as i8))) }
        fn or_b(a: Self::B, b: Self::B) -> Self::B { unrolled!(4, |i| _mm_or_si128(a[i], b[i])) }
        fn shr_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(4, |i| _mm_srli_epi16::<N>(a[i])) }
        fn shl_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(4, |i| _mm_slli_epi16::<N>(a[i])) }

        fn load_q(p: *const u8) -> Self::Q { _mm_loadu_si128(p.cast()) }
        fn and_q(a: Self::Q, m: u8) -> Self::Q { _mm_and_si128(a, _mm_set1_epi8(m as i8)) }
        fn or_q(a: Self::Q, b: Self::Q) -> Self::Q { _mm_or_si128(a, b) }
        fn shr_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_srli_epi16::<N>(a) }
        fn shl_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_slli_epi16::<N>(a) }
        fn unsigned_q(a: Self::Q) -> Self::I {
            let zero = _mm_setzero_si128();
            let (low, high) = (_mm_unpacklo_epi8(a, zero), _mm_unpackhi_epi8(a, zero));
            [
                _mm_unpacklo_epi16(low, zero),
                _mm_unpackhi_epi16(low, zero),
                _mm_unpacklo_epi16(high, zero),
                _mm_unpackhi_epi16(high, zero),
            ]
        }
        fn signed_q(a: Self::Q) -> Self::I {
            let (low, high) = (_mm_unpacklo_epi8(a, a), _mm_unpackhi_epi8(a, a));
            [
                _mm_srai_epi32::<24>(_mm_unpacklo_epi16(low, low)),
                _mm_srai_epi32::<24>(_mm_unpackhi_epi16(low, low)),
                _mm_srai_epi32::<24>(_mm_unpacklo_epi16(high, high)),
                _mm_srai_epi32::<24>(_mm_unpackhi_epi16(high, high)),
            ]
        }
        fn prefetch(p: *const u8) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Sse2 {
    type I = [__m128i; 4];
    type B = [__m128i; 4];
    type Signed = [Self::B; 8];

    const BY_GROUP: bool = true;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(
            w: &[Self::B; N], x: *const Block, at: usize,
        ) -> [Self::I; T] {
            sums::<T, N, false>(w, x, at)
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Self::B; 4], x: *const Block, at: usize, scale: Self::I,
        ) -> [Self::I; T] {
            let scale: Self::I = unrolled!(4, |i| _mm_srai_epi32::<16>(scale[i]));
            let mut sums = sums::<T, 4, false>(w, x, at);
            for sum in &mut sums {
                *sum = Self::mul_i(*sum, scale);
            }
            sums
        }
        fn dots_signed<const T: usize>(w: &[Self::B; 8], x: *const Block) -> [Self::I; T] { sums::<T, 8, true>(w, x, 0) }

        fn signed(w: [Self::B; 8]) -> Self::Signed { w }
        fn dots_ready<const T: usize>(w: &Self::Signed, x: *const Block) -> [Self::I; T] { Self::dots_signed::<T>(w, x) }
    }
}
