//! AVX2: of products of bytes, `vpmaddubsw` sums pairs in 16 bits, and `vpmaddwd` widens what fits there.

use super::avx2_tile::{SignedGroup, add_group, add_signed_group, group, signed_group};
use super::block::Block;
use super::simd::{ByteProducts, simd_ops, unrolled};
use super::ymm::{Ints, Ymm, columns};
use core::arch::x86_64::*;

/// AVX2 and F16C.
pub type Avx2 = Ymm<Pairs>;

/// Products of bytes, summed in pairs.
#[derive(Clone, Copy)]
pub struct Pairs;

/// Signed weights, ready for products of unsigned with signed bytes.
#[derive(Clone, Copy)]
pub struct Signed {
    groups: [SignedGroup; 8],
    /// Of each row, the sum of the absolute values of those below zero.
    below: Ints,
}

/// The same, at this place in the program. Compilers add sums up in trees, for which there are too few registers here.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(mut x: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {} */", inout(ymm_reg) x, options(pure, nomem, nostack, preserves_flags)) };
    x
}

/// `Σ factor × Σ w × x`: sums of pairs in 16 bits are multiplied with the 16-bit halves of `factor` when they are widened.
#[inline(always)]
unsafe fn sums<const T: usize, const N: usize, const MAX: i32>(
    w: &[Ints; N],
    x: *const Block,
    at: usize,
    factor: Ints,
) -> [Ints; T] {
    // `vpmaddubsw` sums pairs in 16 bits: 2 × MAX × 127 at most. `run` of them fit before widening.
    let run = const {
        assert!(MAX <= 127, "pairs would saturate; use dots_signed");
        (32767 / (2 * MAX * 127)) as usize
    };
    // SAFETY: the caller's duty (that of `Simd::dots`).
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; T];
        let mut words = [[_mm256_setzero_si256(); 2]; T];
        if T == 4 && N.is_multiple_of(4) && run >= N {
            let x = x.cast::<u8>().add(at).cast();
            let mut four = group::<0>(w[0], x);
            four = add_group::<4>(four, w[1 % N], x);
            four = add_group::<8>(four, w[2 % N], x);
            four = add_group::<12>(four, w[3 % N], x);
            if N == 8 {
                four = add_group::<16>(four, w[4 % N], x);
                four = add_group::<20>(four, w[5 % N], x);
                four = add_group::<24>(four, w[6 % N], x);
                four = add_group::<28>(four, w[7 % N], x);
            }
            for t in 0..T {
                sums[t] = unrolled!(2, |h| _mm256_madd_epi16(four[t][h], factor[h]));
            }
            return sums;
        }
        let _: [(); 8] = unrolled!(8, |g| if g < N {
            for t in 0..T {
                let x = columns(x.add(t), at + 4 * g);
                for h in 0..2 {
                    let pairs = _mm256_maddubs_epi16(w[g % N][h], x);
                    let is_first = g % run == 0;
                    words[t][h] = if is_first { pairs } else { in_order(_mm256_add_epi16(words[t][h], pairs)) };
                    if g % run == run - 1 || g == N - 1 {
                        let wide = _mm256_madd_epi16(words[t][h], factor[h]);
                        sums[t][h] = if g < run { wide } else { in_order(_mm256_add_epi32(sums[t][h], wide)) };
                    }
                }
            }
        });
        sums
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Ymm<Pairs> {
    type I = Ints;
    type B = Ints;
    type Signed = Signed;

    // Of 16 registers eight hold sums; the weights of the block stay in the first-level cache.
    const BY_GROUP: bool = true;
    const FEW_SIGNED: usize = 7;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(
            w: &[Ints; N], x: *const Block, at: usize,
        ) -> [Ints; T] {
            sums::<T, N, MAX>(w, x, at, [_mm256_set1_epi16(1); 2])
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Ints; 4], x: *const Block, at: usize, scale: Ints,
        ) -> [Ints; T] {
            const { assert!(MAX <= 63, "a scale of 8 bits and a sum of two pairs fit in 32 bits") };
            sums::<T, 4, MAX>(w, x, at, scale)
        }
        fn dots_signed<const T: usize>(w: &[Ints; 8], x: *const Block) -> [Ints; T] {
            // |w| × (x with the sign of w): 2 × 128 × 127 = 32512 fits in 16 bits.
            let ones = _mm256_set1_epi16(1);
            let flip = _mm256_set1_epi8(-128);
            let mut sums = [[_mm256_setzero_si256(); 2]; T];
            for g in 0..8 {
                let w: Ints = unrolled!(2, |h| _mm256_xor_si256(w[g][h], flip));
                let size: Ints = unrolled!(2, |h| _mm256_abs_epi8(w[h]));
                for t in 0..T {
                    let x = columns(x.add(t), 4 * g);
                    for h in 0..2 {
                        let pairs = _mm256_maddubs_epi16(size[h], _mm256_sign_epi8(x, w[h]));
                        sums[t][h] = _mm256_add_epi32(sums[t][h], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            sums
        }

        fn signed(w: [Ints; 8]) -> Signed {
            let (ones, pairs) = (_mm256_set1_epi16(1), _mm256_set1_epi8(1));
            let mut below = [_mm256_setzero_si256(); 2];
            let groups = unrolled!(8, |g| {
                let w: Ints = unrolled!(2, |h| _mm256_xor_si256(w[g][h], _mm256_set1_epi8(-128)));
                let size = unrolled!(2, |h| _mm256_abs_epi8(w[h]));
                let sign = unrolled!(2, |h| _mm256_cmpgt_epi8(_mm256_setzero_si256(), w[h]));
                // Sizes are at most 128: two of them fit.
                let sums = unrolled!(2, |h| _mm256_maddubs_epi16(_mm256_and_si256(size[h], sign[h]), pairs));
                below = unrolled!(2, |h| _mm256_add_epi32(below[h], _mm256_madd_epi16(sums[h], ones)));
                SignedGroup { size, sign }
            });
            Signed { groups, below }
        }
        fn dots_ready<const T: usize>(w: &Signed, x: *const Block) -> [Ints; T] {
            // |w| × (x ^ sign) is w × x, and |w| less where w is below zero. 2 × 128 × −128 fits in 16 bits.
            let ones = _mm256_set1_epi16(1);
            let mut sums = [w.below; T];
            if T == 4 {
                let (below, w) = (w.below, &w.groups);
                let mut four = signed_group::<0>(below, &w[0], x, ones);
                four = add_signed_group::<4>(four, &w[1], x, ones);
                four = add_signed_group::<8>(four, &w[2], x, ones);
                four = add_signed_group::<12>(four, &w[3], x, ones);
                four = add_signed_group::<16>(four, &w[4], x, ones);
                four = add_signed_group::<20>(four, &w[5], x, ones);
                four = add_signed_group::<24>(four, &w[6], x, ones);
                four = add_signed_group::<28>(four, &w[7], x, ones);
                sums.copy_from_slice(&four[..T]);
                return sums;
            }
            for (g, SignedGroup { size, sign }) in w.groups.iter().enumerate() {
                for t in 0..T {
                    let x = columns(x.add(t), 4 * g);
                    for h in 0..2 {
                        let pairs = _mm256_maddubs_epi16(size[h], _mm256_xor_si256(x, sign[h]));
                        sums[t][h] = in_order(_mm256_add_epi32(sums[t][h], _mm256_madd_epi16(pairs, ones)));
                    }
                }
            }
            sums
        }
    }
}
