//! NEON with the dot product instructions: `sdot` multiplies and sums four bytes of every row at once, and takes the four of
//! a token from their place in a register.

use super::block::Block;
use super::quads::{Bytes, Ints, Quads, scaled};
use super::simd::{ByteProducts, simd_ops, unrolled};
use core::arch::aarch64::*;
use core::arch::asm;
use core::mem::offset_of;

const _: () = assert!(offset_of!(Block, q) == 0 && size_of::<Block>() >= 28 + 16, "what `dot_groups` reads of a block");

/// NEON with FEAT_DotProd.
pub type DotProd = Quads<Fours>;

/// Products of bytes, summed in fours.
#[derive(Clone, Copy)]
pub struct Fours;

/// In each lane `sum + Σ w × x` over four signed bytes, those of `x` the ones of group `g`.
#[inline(always)]
unsafe fn add_fours(mut sum: int32x4_t, w: uint8x16_t, x: int8x16_t, g: usize) -> int32x4_t {
    macro_rules! sdot {
        ($g:literal) => {
            // SAFETY: the processor has the instruction (contract of `Simd`); its intrinsic is not in stable compilers.
            unsafe {
                asm!(
                    concat!("sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[", $g, "]"),
                    sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
                    options(pure, nomem, nostack, preserves_flags)
                )
            }
        };
    }
    match g {
        0 => sdot!(0),
        1 => sdot!(1),
        2 => sdot!(2),
        _ => sdot!(3),
    }
    sum
}

/// `Σ w × x` over `N` groups of four columns from `at` on, in each row; weights are signed.
#[inline(always)]
unsafe fn dot_groups<const T: usize, const N: usize>(w: &[Bytes; N], x: *const Block, at: usize) -> [Ints; T] {
    const { assert!(T <= 8, "tokens are written out below") };
    // SAFETY: the caller's duty (that of `Simd::dots`). A register has four groups: beyond the last, what follows in the block.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; T];
        for four in 0..N.div_ceil(4) {
            let mut tokens = [vdupq_n_s8(0); T];
            for (t, token) in tokens.iter_mut().enumerate() {
                *token = vld1q_s8(x.add(t).cast::<i8>().add(at + 16 * four));
            }
            let _: [(); 4] = unrolled!(4, |g| if 4 * four + g < N {
                let w = &w[(4 * four + g) % N];
                let _: [(); 8] = unrolled!(8, |t| if t < T {
                    sums[t] = unrolled!(4, |i| add_fours(sums[t][i], w[i], tokens[t], g));
                });
            });
        }
        sums
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Quads<Fours> {
    type I = Ints;
    type B = Bytes;
    type Signed = [Bytes; 8];

    // Of 32 registers 16 hold sums, four the weights of a group, four the tokens.
    const BY_GROUP: bool = true;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(w: &[Bytes; N], x: *const Block, at: usize) -> [Ints; T] {
            const { assert!(MAX <= 127, "codes would be negative; use dots_signed") };
            dot_groups::<T, N>(w, x, at)
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Bytes; 4], x: *const Block, at: usize, scale: Ints,
        ) -> [Ints; T] {
            scaled(Self::dots::<T, 4, MAX>(w, x, at), scale)
        }
        fn dots_signed<const T: usize>(w: &[Bytes; 8], x: *const Block) -> [Ints; T] {
            Self::dots_ready::<T>(&Self::signed(*w), x)
        }
        fn signed(w: [Bytes; 8]) -> [Bytes; 8] {
            unrolled!(8, |g| unrolled!(4, |i| veorq_u8(w[g][i], vdupq_n_u8(0x80))))
        }
        fn dots_ready<const T: usize>(w: &[Bytes; 8], x: *const Block) -> [Ints; T] { dot_groups::<T, 8>(w, x, 0) }
    }
}
