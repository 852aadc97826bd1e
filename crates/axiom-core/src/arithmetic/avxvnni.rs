//! AVX-VNNI: AVX2 with `vpdpbusd`, which multiplies and sums four bytes of every row at once, as AVX-512 has it.

use super::block::Block;
use super::simd::{ByteProducts, simd_ops};
use super::ymm::{Ints, Ymm, columns};
use core::arch::x86_64::*;

/// AVX2, F16C and AVX-VNNI.
pub type AvxVnni = Ymm<Fours<false>>;

/// The same with other instructions in place of that one, so that all around it can be checked without a processor that has it.
#[cfg(feature = "conformance")]
pub type EmulatedAvxVnni = Ymm<Fours<true>>;

/// Products of bytes, summed in fours.
#[derive(Clone, Copy)]
pub struct Fours<const EMULATED: bool>;

/// In each lane `sum + Σ w × x` over four bytes: those of `w` are unsigned, those of `x` signed.
#[inline(always)]
unsafe fn add_fours<const EMULATED: bool>(sum: __m256i, w: __m256i, x: __m256i) -> __m256i {
    // SAFETY: the processor has AVX2, and AVX-VNNI unless that is emulated.
    unsafe {
        if !EMULATED {
            return _mm256_dpbusd_avx_epi32(sum, w, x);
        }
        let even = _mm256_madd_epi16(
            _mm256_and_si256(w, _mm256_set1_epi16(0xFF)),
            _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x)),
        );
        let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(w), _mm256_srai_epi16::<8>(x));
        _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
    }
}

/// `start + Σ w × x` over `N` groups of four columns from `at` on, in each row.
#[inline(always)]
unsafe fn add_groups<const EMULATED: bool, const T: usize, const N: usize>(
    start: [Ints; T],
    w: &[Ints; N],
    x: *const Block,
    at: usize,
) -> [Ints; T] {
    let mut sums = start;
    for (g, w) in w.iter().enumerate() {
        for (t, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's duty (that of `Simd::dots`).
            unsafe {
                let x = columns(x.add(t), at + 4 * g);
                for (sum, &w) in sums.iter_mut().zip(w) {
                    *sum = add_fours::<EMULATED>(*sum, w, x);
                }
            }
        }
    }
    sums
}

// SAFETY: pointers are used as the trait says.
unsafe impl<const EMULATED: bool> ByteProducts for Ymm<Fours<EMULATED>> {
    type I = Ints;
    type B = Ints;
    type Signed = [Ints; 8];

    // Of 16 registers eight hold sums; the weights of the block stay in the first-level cache.
    const BY_GROUP: bool = true;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(w: &[Ints; N], x: *const Block, at: usize) -> [Ints; T] {
            add_groups::<EMULATED, T, N>([[_mm256_setzero_si256(); 2]; T], w, x, at)
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Ints; 4], x: *const Block, at: usize, scale: Ints,
        ) -> [Ints; T] {
            let mut sums = Self::dots::<T, 4, MAX>(w, x, at);
            for sums in &mut sums {
                for (sum, scale) in sums.iter_mut().zip(scale) {
                    *sum = _mm256_mullo_epi32(*sum, _mm256_srai_epi32::<16>(scale));
                }
            }
            sums
        }
        fn dots_signed<const T: usize>(w: &[Ints; 8], x: *const Block) -> [Ints; T] {
            // Weights are stored as w + 128: sixteen times eight times the sum of x is too much.
            let mut start = [[_mm256_setzero_si256(); 2]; T];
            for (t, start) in start.iter_mut().enumerate() {
                *start = [_mm256_set1_epi32(-16 * (*x.add(t)).eight_sum); 2];
            }
            add_groups::<EMULATED, T, 8>(start, w, x, 0)
        }
        fn signed(w: [Ints; 8]) -> [Ints; 8] { w }
        fn dots_ready<const T: usize>(w: &[Ints; 8], x: *const Block) -> [Ints; T] { Self::dots_signed::<T>(w, x) }
    }
}
