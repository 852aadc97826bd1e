//! Sixteen lanes as four registers of 128 bits, by what every 64-bit ARM processor has. How bytes are multiplied is a part of
//! its own, in which instruction sets differ: [`ByteProducts`]. `make test-arm` runs them under emulation.
//!
//! Never here: `fmla` (fused), `vmaxq_f32` (gives NaN where either is NaN), the reciprocal estimates.

use super::simd::{ByteProducts, Simd, simd_ops, unrolled};
use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

/// Sixteen lanes of integers.
pub type Ints = [int32x4_t; 4];
/// 64 bytes: four columns of four rows in each register.
pub type Bytes = [uint8x16_t; 4];

/// NEON of ARMv8-A, with the byte products of `P`.
#[derive(Clone, Copy)]
pub struct Quads<P>(PhantomData<P>);

/// Sums times the scale of each row, which lies in both 16-bit halves of its lane.
#[inline(always)]
pub(super) fn scaled<const T: usize>(mut sums: [Ints; T], scale: Ints) -> [Ints; T] {
    for sum in &mut sums {
        // SAFETY: NEON is part of 64-bit ARM.
        *sum = unsafe { unrolled!(4, |i| vmulq_s32(sum[i], vshrq_n_s32::<16>(scale[i]))) };
    }
    sums
}

/// `a > b ? a : b`.
#[inline(always)]
fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: NEON is part of 64-bit ARM.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

/// 16 × u16 as two registers.
#[inline(always)]
unsafe fn load_words(p: *const u16) -> [uint16x8_t; 2] {
    // SAFETY: NEON is part of 64-bit ARM; the caller owns 32 bytes from `p` on.
    unsafe { [vld1q_u16(p), vld1q_u16(p.add(8))] }
}

// SAFETY: each method is the instruction of its name, on all quarters; pointers are used as the trait says.
unsafe impl<P: Copy + 'static> Simd for Quads<P>
where
    Quads<P>: ByteProducts<B = Bytes, I = Ints>,
{
    type F = [float32x4_t; 4];
    type Q = uint8x16_t;

    const TILE: usize = 4;
    const QUERIES: usize = 4;
    const TWO_STREAMS: bool = false;

    simd_ops! {
        fn splat(x: f32) -> Self::F { [vdupq_n_f32(x); 4] }
        fn load(p: *const f32) -> Self::F { unrolled!(4, |i| vld1q_f32(p.add(4 * i))) }
        fn store(p: *mut f32, x: Self::F) {
            for (i, x) in x.into_iter().enumerate() {
                vst1q_f32(p.add(4 * i), x);
            }
        }
        fn load_f16(p: *const u16) -> Self::F {
            // The instruction is in the baseline; its intrinsic speaks of a type that is not in older compilers.
            let words = load_words(p);
            let mut lanes = [vdupq_n_f32(0.0); 4];
            for half in 0..2 {
                asm!(
                    "fcvtl {low:v}.4s, {words:v}.4h",
                    "fcvtl2 {high:v}.4s, {words:v}.8h",
                    words = in(vreg) words[half],
                    low = out(vreg) lanes[2 * half],
                    high = lateout(vreg) lanes[2 * half + 1],
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            lanes
        }
        fn load_bf16(p: *const u16) -> Self::F {
            let [a, b] = load_words(p);
            let wide = [vmovl_u16(vget_low_u16(a)), vmovl_high_u16(a), vmovl_u16(vget_low_u16(b)), vmovl_high_u16(b)];
            unrolled!(4, |i| vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide[i])))
        }
        fn store_f16(p: *mut u16, x: Self::F) {
            for half in 0..2 {
                let words: uint16x8_t;
                asm!(
                    "fcvtn {words:v}.4h, {low:v}.4s",
                    "fcvtn2 {words:v}.8h, {high:v}.4s",
                    words = out(vreg) words,
                    low = in(vreg) x[2 * half],
                    high = in(vreg) x[2 * half + 1],
                    options(pure, nomem, nostack, preserves_flags)
                );
                vst1q_u16(p.add(8 * half), words);
            }
        }
        fn add(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| vaddq_f32(a[i], b[i])) }
        fn sub(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| vsubq_f32(a[i], b[i])) }
        fn mul(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| vmulq_f32(a[i], b[i])) }
        fn div(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| vdivq_f32(a[i], b[i])) }
        fn sqrt(a: Self::F) -> Self::F { unrolled!(4, |i| vsqrtq_f32(a[i])) }
        fn max(a: Self::F, b: Self::F) -> Self::F { unrolled!(4, |i| larger(a[i], b[i])) }
        fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
            unrolled!(4, |i| vbslq_f32(vcltq_f32(a[i], b[i]), x[i], y[i]))
        }
        fn keep_nan(a: Self::F, y: Self::F) -> Self::F { unrolled!(4, |i| vbslq_f32(vceqq_f32(a[i], a[i]), y[i], a[i])) }
        fn tree_sum(a: Self::F) -> f32 {
            let a = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
            let a = vadd_f32(vget_low_f32(a), vget_high_f32(a));
            vget_lane_f32::<0>(a) + vget_lane_f32::<1>(a)
        }
        fn tree_max(a: Self::F) -> f32 {
            let a = larger(larger(a[0], a[2]), larger(a[1], a[3]));
            let a = larger(a, vextq_f32::<2>(a, a));
            vgetq_lane_f32::<0>(larger(a, vextq_f32::<1>(a, a)))
        }

        fn splat_i(x: i32) -> Self::I { [vdupq_n_s32(x); 4] }
        fn add_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| vaddq_s32(a[i], b[i])) }
        fn sub_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| vsubq_s32(a[i], b[i])) }
        fn mul_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| vmulq_s32(a[i], b[i])) }
        fn shl_i<const N: i32>(a: Self::I) -> Self::I { unrolled!(4, |i| vshlq_n_s32::<N>(a[i])) }
        fn max_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| vmaxq_s32(a[i], b[i])) }
        fn pair_i(low: Self::I, high: Self::I) -> Self::I {
            // The bits above a lane's lowest 16 are those of `high`.
            unrolled!(4, |i| vsliq_n_s32::<16>(low[i], high[i]))
        }
        fn dot_pairs(a: Self::I, b: Self::I) -> Self::I {
            unrolled!(4, |i| {
                let (a, b) = (vreinterpretq_s16_s32(a[i]), vreinterpretq_s16_s32(b[i]));
                let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
                vpaddq_s32(low, vmull_high_s16(a, b))
            })
        }
        fn and_i(a: Self::I, b: Self::I) -> Self::I { unrolled!(4, |i| vandq_s32(a[i], b[i])) }
        fn to_f(a: Self::I) -> Self::F { unrolled!(4, |i| vcvtq_f32_s32(a[i])) }
        fn round_to_i(a: Self::F) -> Self::I { unrolled!(4, |i| vcvtnq_s32_f32(a[i])) }
        fn bits(a: Self::F) -> Self::I { unrolled!(4, |i| vreinterpretq_s32_f32(a[i])) }
        fn from_bits(a: Self::I) -> Self::F { unrolled!(4, |i| vreinterpretq_f32_s32(a[i])) }
        fn store_i8(p: *mut i8, a: Self::I) {
            let low = vmovn_s16(vcombine_s16(vmovn_s32(a[0]), vmovn_s32(a[1])));
            let high = vmovn_s16(vcombine_s16(vmovn_s32(a[2]), vmovn_s32(a[3])));
            vst1q_s8(p, vcombine_s8(low, high))
        }
        fn sum_i(a: Self::I) -> i32 { vaddvq_s32(vaddq_s32(vaddq_s32(a[0], a[1]), vaddq_s32(a[2], a[3]))) }
        fn tree_max_i(a: Self::I) -> i32 { vmaxvq_s32(vmaxq_s32(vmaxq_s32(a[0], a[1]), vmaxq_s32(a[2], a[3]))) }

        fn load_b(p: *const u8) -> Self::B { unrolled!(4, |i| vld1q_u8(p.add(16 * i))) }
        fn and_b(a: Self::B, m: u8) -> Self::B { unrolled!(4, |i| vandq_u8(a[i], vdupq_n_u8(m))) }
        fn or_b(a: Self::B, b: Self::B) -> Self::B { unrolled!(4, |i| vorrq_u8(a[i], b[i])) }
        fn shr_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(4, |i| Self::shr_q::<N>(a[i])) }
        fn shl_b<const N: i32>(a: Self::B) -> Self::B { unrolled!(4, |i| Self::shl_q::<N>(a[i])) }

        fn load_q(p: *const u8) -> Self::Q { vld1q_u8(p) }
        fn and_q(a: Self::Q, m: u8) -> Self::Q { vandq_u8(a, vdupq_n_u8(m)) }
        fn or_q(a: Self::Q, b: Self::Q) -> Self::Q { vorrq_u8(a, b) }
        fn shr_q<const N: i32>(a: Self::Q) -> Self::Q { vreinterpretq_u8_u16(vshrq_n_u16::<N>(vreinterpretq_u16_u8(a))) }
        fn shl_q<const N: i32>(a: Self::Q) -> Self::Q { vreinterpretq_u8_u16(vshlq_n_u16::<N>(vreinterpretq_u16_u8(a))) }
        fn unsigned_q(a: Self::Q) -> Self::I {
            let (low, high) = (vmovl_u8(vget_low_u8(a)), vmovl_high_u8(a));
            let wide = [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)];
            unrolled!(4, |i| vreinterpretq_s32_u32(wide[i]))
        }
        fn signed_q(a: Self::Q) -> Self::I {
            let a = vreinterpretq_s8_u8(a);
            let (low, high) = (vmovl_s8(vget_low_s8(a)), vmovl_high_s8(a));
            [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
        }
        fn prefetch(p: *const u8) {
            asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(readonly, nostack, preserves_flags))
        }
    }
}
