//! AVX-512 with VNNI: sixteen lanes are one register, and `vpdpbusd` multiplies and sums four bytes of every row at once.

use super::block::Block;
use super::simd::{ByteProducts, Simd, simd_ops};
use core::arch::x86_64::*;

/// AVX-512 F, BW, VL, DQ and VNNI.
#[derive(Clone, Copy)]
pub struct Avx512;

/// Columns `at` … `at + 3` of a token, in every group of four bytes.
#[inline(always)]
unsafe fn columns(x: *const Block, at: usize) -> __m512i {
    // SAFETY: AVX-512 is there, and `at` is at most 28 (contract of `Simd::dots`).
    unsafe { _mm512_set1_epi32((&raw const (*x).q).cast::<u8>().add(at).cast::<i32>().read_unaligned()) }
}

// SAFETY: each method is the instruction of its name; pointers are used as the trait says.
unsafe impl Simd for Avx512 {
    type F = __m512;
    type Q = __m128i;

    // 8 accumulators and the 8 registers of a block's weights leave half of the registers to what is on its way.
    const TILE: usize = 8;
    const QUERIES: usize = 8;
    const TWO_STREAMS: bool = true;

    simd_ops! {
        fn splat(x: f32) -> Self::F { _mm512_set1_ps(x) }
        fn load(p: *const f32) -> Self::F { _mm512_loadu_ps(p) }
        fn store(p: *mut f32, x: Self::F) { _mm512_storeu_ps(p, x) }
        fn load_f16(p: *const u16) -> Self::F { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
        fn load_bf16(p: *const u16) -> Self::F {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()))))
        }
        fn store_f16(p: *mut u16, x: Self::F) {
            _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x))
        }
        fn add(a: Self::F, b: Self::F) -> Self::F { _mm512_add_ps(a, b) }
        fn sub(a: Self::F, b: Self::F) -> Self::F { _mm512_sub_ps(a, b) }
        fn mul(a: Self::F, b: Self::F) -> Self::F { _mm512_mul_ps(a, b) }
        fn div(a: Self::F, b: Self::F) -> Self::F { _mm512_div_ps(a, b) }
        fn sqrt(a: Self::F) -> Self::F { _mm512_sqrt_ps(a) }
        fn max(a: Self::F, b: Self::F) -> Self::F { _mm512_max_ps(a, b) }
        fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x)
        }
        fn keep_nan(a: Self::F, y: Self::F) -> Self::F {
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), y, a)
        }
        fn tree_sum(a: Self::F) -> f32 {
            let a = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
        }
        fn tree_max(a: Self::F) -> f32 { _mm512_reduce_max_ps(a) }

        fn splat_i(x: i32) -> Self::I { _mm512_set1_epi32(x) }
        fn add_i(a: Self::I, b: Self::I) -> Self::I { _mm512_add_epi32(a, b) }
        fn sub_i(a: Self::I, b: Self::I) -> Self::I { _mm512_sub_epi32(a, b) }
        fn mul_i(a: Self::I, b: Self::I) -> Self::I { _mm512_mullo_epi32(a, b) }
        fn shl_i<const N: i32>(a: Self::I) -> Self::I { _mm512_sll_epi32(a, _mm_cvtsi32_si128(N)) }
        fn max_i(a: Self::I, b: Self::I) -> Self::I { _mm512_max_epi32(a, b) }
        fn pair_i(low: Self::I, high: Self::I) -> Self::I {
            _mm512_mask_blend_epi16(0xAAAA_AAAA, low, _mm512_slli_epi32::<16>(high))
        }
        fn dot_pairs(a: Self::I, b: Self::I) -> Self::I { _mm512_madd_epi16(a, b) }
        fn and_i(a: Self::I, b: Self::I) -> Self::I { _mm512_and_si512(a, b) }
        fn to_f(a: Self::I) -> Self::F { _mm512_cvtepi32_ps(a) }
        fn round_to_i(a: Self::F) -> Self::I { _mm512_cvtps_epi32(a) }
        fn bits(a: Self::F) -> Self::I { _mm512_castps_si512(a) }
        fn from_bits(a: Self::I) -> Self::F { _mm512_castsi512_ps(a) }
        fn store_i8(p: *mut i8, a: Self::I) { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(a)) }
        fn sum_i(a: Self::I) -> i32 { _mm512_reduce_add_epi32(a) }
        fn tree_max_i(a: Self::I) -> i32 { _mm512_reduce_max_epi32(a) }

        fn load_b(p: *const u8) -> Self::B { _mm512_loadu_si512(p.cast()) }
        fn and_b(a: Self::B, m: u8) -> Self::B { _mm512_and_si512(a, _mm512_set1_epi8(m as i8)) }
        fn or_b(a: Self::B, b: Self::B) -> Self::B { _mm512_or_si512(a, b) }
        fn shr_b<const N: i32>(a: Self::B) -> Self::B { _mm512_srl_epi16(a, _mm_cvtsi32_si128(N)) }
        fn shl_b<const N: i32>(a: Self::B) -> Self::B { _mm512_sll_epi16(a, _mm_cvtsi32_si128(N)) }

        fn load_q(p: *const u8) -> Self::Q { _mm_loadu_si128(p.cast()) }
        fn and_q(a: Self::Q, m: u8) -> Self::Q { _mm_and_si128(a, _mm_set1_epi8(m as i8)) }
        fn or_q(a: Self::Q, b: Self::Q) -> Self::Q { _mm_or_si128(a, b) }
        fn shr_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_srl_epi16(a, _mm_cvtsi32_si128(N)) }
        fn shl_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_sll_epi16(a, _mm_cvtsi32_si128(N)) }
        fn unsigned_q(a: Self::Q) -> Self::I { _mm512_cvtepu8_epi32(a) }
        fn signed_q(a: Self::Q) -> Self::I { _mm512_cvtepi8_epi32(a) }
        fn prefetch(p: *const u8) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Avx512 {
    type I = __m512i;
    type B = __m512i;
    type Signed = [Self::B; 8];

    const BY_GROUP: bool = false;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(
            w: &[Self::B; N], x: *const Block, at: usize,
        ) -> [Self::I; T] {
            let mut sums = [_mm512_setzero_si512(); T];
            for t in 0..T {
                for g in 0..N {
                    sums[t] = _mm512_dpbusd_epi32(sums[t], w[g], columns(x.add(t), at + 4 * g));
                }
            }
            sums
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Self::B; 4], x: *const Block, at: usize, scale: Self::I,
        ) -> [Self::I; T] {
            let scale = _mm512_srai_epi32::<16>(scale);
            let mut sums = Self::dots::<T, 4, MAX>(w, x, at);
            for sum in &mut sums {
                *sum = _mm512_mullo_epi32(*sum, scale);
            }
            sums
        }
        fn dots_signed<const T: usize>(w: &[Self::B; 8], x: *const Block) -> [Self::I; T] {
            let mut sums = [_mm512_setzero_si512(); T];
            for t in 0..T {
                sums[t] = _mm512_set1_epi32(-16 * (*x.add(t)).eight_sum);
                for g in 0..8 {
                    sums[t] = _mm512_dpbusd_epi32(sums[t], w[g], columns(x.add(t), 4 * g));
                }
            }
            sums
        }

        fn signed(w: [Self::B; 8]) -> Self::Signed { w }
        fn dots_ready<const T: usize>(w: &Self::Signed, x: *const Block) -> [Self::I; T] { Self::dots_signed::<T>(w, x) }
    }
}
