//! Sixteen lanes as two registers of 256 bits, by AVX2 and F16C. (FMA is on such processors too; the contract has no use for
//! it.) How bytes are multiplied is a part of its own, in which instruction sets differ: [`ByteProducts`].

use super::block::Block;
use super::simd::{ByteProducts, Simd, simd_ops, unrolled};
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// Sixteen lanes of integers, or 64 bytes.
pub type Ints = [__m256i; 2];

/// AVX2 and F16C, with the byte products of `P`.
#[derive(Clone, Copy)]
pub struct Ymm<P>(PhantomData<P>);

/// Columns `at` … `at + 3` of a token, in every group of four bytes.
///
/// # Safety
///
/// The processor has AVX; `x` is readable, `at` is at most 28.
#[inline(always)]
pub(super) unsafe fn columns(x: *const Block, at: usize) -> __m256i {
    // SAFETY: the caller's duty.
    unsafe { _mm256_set1_epi32((&raw const (*x).q).cast::<u8>().add(at).cast::<i32>().read_unaligned()) }
}

// SAFETY: each method is the instruction of its name, on both halves; pointers are used as the trait says.
unsafe impl<P: Copy + 'static> Simd for Ymm<P>
where
    Ymm<P>: ByteProducts<B = Ints, I = Ints>,
{
    type F = [__m256; 2];
    type Q = __m128i;

    const TILE: usize = 4;
    const QUERIES: usize = 6;
    const TWO_STREAMS: bool = true;

    #[inline(always)]
    #[allow(clippy::pointers_in_nomem_asm_block)] // nothing is read or written: what is hidden is where the pointer comes from
    fn opaque<T>(mut p: *const T) -> *const T {
        // SAFETY: no instruction at all.
        unsafe { core::arch::asm!("/* {} */", inout(reg) p, options(nomem, nostack, preserves_flags)) };
        p
    }

    simd_ops! {
        fn splat(x: f32) -> Self::F { [_mm256_set1_ps(x); 2] }
        fn load(p: *const f32) -> Self::F { unrolled!(2, |h| _mm256_loadu_ps(p.add(8 * h))) }
        fn store(p: *mut f32, x: Self::F) {
            _mm256_storeu_ps(p, x[0]);
            _mm256_storeu_ps(p.add(8), x[1]);
        }
        fn load_f16(p: *const u16) -> Self::F { unrolled!(2, |h| _mm256_cvtph_ps(_mm_loadu_si128(p.add(8 * h).cast()))) }
        fn load_bf16(p: *const u16) -> Self::F {
            unrolled!(2, |h| {
                let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.add(8 * h).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
            })
        }
        fn store_f16(p: *mut u16, x: Self::F) {
            _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[0]));
            _mm_storeu_si128(p.add(8).cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[1]));
        }
        fn add(a: Self::F, b: Self::F) -> Self::F { unrolled!(2, |h| _mm256_add_ps(a[h], b[h])) }
        fn sub(a: Self::F, b: Self::F) -> Self::F { unrolled!(2, |h| _mm256_sub_ps(a[h], b[h])) }
        fn mul(a: Self::F, b: Self::F) -> Self::F { unrolled!(2, |h| _mm256_mul_ps(a[h], b[h])) }
        fn div(a: Self::F, b: Self::F) -> Self::F { unrolled!(2, |h| _mm256_div_ps(a[h], b[h])) }
        fn sqrt(a: Self::F) -> Self::F { unrolled!(2, |h| _mm256_sqrt_ps(a[h])) }
        fn max(a: Self::F, b: Self::F) -> Self::F { unrolled!(2, |h| _mm256_max_ps(a[h], b[h])) }
        fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
            unrolled!(2, |h| _mm256_blendv_ps(y[h], x[h], _mm256_cmp_ps::<_CMP_LT_OQ>(a[h], b[h])))
        }
        fn keep_nan(a: Self::F, y: Self::F) -> Self::F {
            unrolled!(2, |h| _mm256_blendv_ps(y[h], a[h], _mm256_cmp_ps::<_CMP_UNORD_Q>(a[h], a[h])))
        }
        fn tree_sum(a: Self::F) -> f32 {
            let a = _mm256_add_ps(a[0], a[1]);
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_shuffle_ps::<1>(a, a)))
        }
        fn tree_max(a: Self::F) -> f32 {
            let a = _mm256_max_ps(a[0], a[1]);
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_shuffle_ps::<1>(a, a)))
        }

        fn splat_i(x: i32) -> Self::I { [_mm256_set1_epi32(x); 2] }
        fn add_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_add_epi32(a[h], b[h])) }
        fn sub_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_sub_epi32(a[h], b[h])) }
        fn mul_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_mullo_epi32(a[h], b[h])) }
        fn shl_i<const N: i32>(a: Self::I) -> Self::I { unrolled!(2, |h| _mm256_slli_epi32::<N>(a[h])) }
        fn max_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_max_epi32(a[h], b[h])) }
        fn pair_i(low: Self::I, high: Self::I) -> Self::I {
            unrolled!(2, |h| _mm256_blend_epi16::<0b1010_1010>(low[h], _mm256_slli_epi32::<16>(high[h])))
        }
        fn dot_pairs(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_madd_epi16(a[h], b[h])) }
        fn and_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(2, |h| _mm256_and_si256(a[h], b[h])) }
        fn to_f(a: Self::I) -> Self::F { unrolled!(2, |h| _mm256_cvtepi32_ps(a[h])) }
        fn round_to_i(a: Self::F) -> Self::I { unrolled!(2, |h| _mm256_cvtps_epi32(a[h])) }
        fn bits(a: Self::F) -> Self::I { unrolled!(2, |h| _mm256_castps_si256(a[h])) }
        fn from_bits(a: Self::I) -> Self::F { unrolled!(2, |h| _mm256_castsi256_ps(a[h])) }
        fn store_i8(p: *mut i8, a: Self::I) {
            // Packing works within 128-bit halves; the permutation puts the rows back in order.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(a[0], a[1]));
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(p.cast(), bytes)
        }
        fn sum_i(a: Self::I) -> i32 {
            let a = _mm256_add_epi32(a[0], a[1]);
            let a = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let a = _mm_add_epi32(a, _mm_shuffle_epi32::<0b01_00_11_10>(a));
            _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32::<1>(a)))
        }
        fn tree_max_i(a: Self::I) -> i32 {
            let a = _mm256_max_epi32(a[0], a[1]);
            let a = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let a = _mm_max_epi32(a, _mm_shuffle_epi32::<0b01_00_11_10>(a));
            _mm_cvtsi128_si32(_mm_max_epi32(a, _mm_shuffle_epi32::<1>(a)))
        }

        fn load_b(p: *const u8) -> Self::B { unrolled!(2, |h| _mm256_loadu_si256(p.add(32 * h).cast())) }
        fn and_b(a: Self::B, m: u8) -> Self::B { unrolled!(2, |h| _mm256_and_si256(a[h], _mm256_set1_epi8(m as i8))) }
        fn or_b(a: Self::B, b: Self::B) -> Self::B { unrolled!(2, |h| _mm256_or_si256(a[h], b[h])) }
        fn shr_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(2, |h| _mm256_srli_epi16::<N>(a[h])) }
        fn shl_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(2, |h| _mm256_slli_epi16::<N>(a[h])) }

        fn load_q(p: *const u8) -> Self::Q { _mm_loadu_si128(p.cast()) }
        fn and_q(a: Self::Q, m: u8) -> Self::Q { _mm_and_si128(a, _mm_set1_epi8(m as i8)) }
        fn or_q(a: Self::Q, b: Self::Q) -> Self::Q { _mm_or_si128(a, b) }
        fn shr_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_srli_epi16::<N>(a) }
        fn shl_q<const N: i32>(a: Self::Q) -> Self::Q { _mm_slli_epi16::<N>(a) }
        fn unsigned_q(a: Self::Q) -> Self::I { [_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(a))] }
        fn signed_q(a: Self::Q) -> Self::I { [_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(a))] }
        fn prefetch(p: *const u8) { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
