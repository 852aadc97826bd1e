//! NEON: of products of bytes, those of every 64-bit ARM processor, which are summed in 16 bits.

use super::block::Block;
use super::quads::{Bytes, Ints, Quads, scaled};
use super::simd::{ByteProducts, simd_ops, unrolled};
use core::arch::aarch64::*;

/// NEON of ARMv8-A.
pub type Neon = Quads<Words>;

/// Products of bytes, summed in words.
#[derive(Clone, Copy)]
pub struct Words;

/// `Σ w × x` of signed bytes, of which a product is at most `LARGEST` in size.
#[inline(always)]
unsafe fn dot_bytes<const N: usize, const LARGEST: i32>(w: &[[int8x16_t; 4]; N], x: *const i8) -> Ints {
    // `smlal` sums products in 16 bits; `run` of them fit before widening.
    let run = const { (32767 / LARGEST) as usize };
    // SAFETY: NEON is part of 64-bit ARM; `x` points to 4N bytes (contract of `Simd::dots`).
    unsafe {
        // [quarter][half]: two partial sums for each of two rows.
        let mut sums = [[vdupq_n_s32(0); 2]; 4];
        let mut words = [[vdupq_n_s16(0); 2]; 4];
        for g in 0..N {
            let x = vreinterpretq_s8_s32(vdupq_n_s32(x.add(4 * g).cast::<i32>().read_unaligned()));
            for quarter in 0..4 {
                let w = w[g][quarter];
                let [low, high] = words[quarter];
                words[quarter] = if g % run == 0 {
                    [vmull_s8(vget_low_s8(w), vget_low_s8(x)), vmull_high_s8(w, x)]
                } else {
                    [vmlal_s8(low, vget_low_s8(w), vget_low_s8(x)), vmlal_high_s8(high, w, x)]
                };
                if g % run == run - 1 || g == N - 1 {
                    for half in 0..2 {
                        sums[quarter][half] = vpadalq_s16(sums[quarter][half], words[quarter][half]);
                    }
                }
            }
        }
        unrolled!(4, |quarter| vpaddq_s32(sums[quarter][0], sums[quarter][1]))
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Quads<Words> {
    type I = Ints;
    type B = Bytes;
    type Signed = [Bytes; 8];

    // 16 of 32 registers for accumulators; the weights of the block stay in the first-level cache.
    const BY_GROUP: bool = false;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(w: &[Bytes; N], x: *const Block, at: usize) -> [Ints; T] {
            const { assert!(MAX <= 127, "codes would be negative; use dots_signed") };
            let mut signed = [[vdupq_n_s8(0); 4]; N];
            for g in 0..N {
                signed[g] = unrolled!(4, |i| vreinterpretq_s8_u8(w[g][i]));
            }
            let mut sums = [[vdupq_n_s32(0); 4]; T];
            for t in 0..T {
                let x = (&raw const (*x.add(t)).q).cast::<i8>().add(at);
                // A product is MAX × 127 at most; the bound is one of those that `dot_bytes` is compiled for.
                sums[t] = match MAX {
                    ..=15 => dot_bytes::<N, { 15 * 127 }>(&signed, x),
                    16..=31 => dot_bytes::<N, { 31 * 127 }>(&signed, x),
                    32..=63 => dot_bytes::<N, { 63 * 127 }>(&signed, x),
                    _ => dot_bytes::<N, { 127 * 127 }>(&signed, x),
                };
            }
            sums
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Bytes; 4], x: *const Block, at: usize, scale: Ints,
        ) -> [Ints; T] {
            scaled(Self::dots::<T, 4, MAX>(w, x, at), scale)
        }
        fn dots_signed<const T: usize>(w: &[Bytes; 8], x: *const Block) -> [Ints; T] {
            let mut signed = [[vdupq_n_s8(0); 4]; 8];
            for g in 0..8 {
                signed[g] = unrolled!(4, |i| vreinterpretq_s8_u8(veorq_u8(w[g][i], vdupq_n_u8(0x80))));
            }
            let mut sums = [[vdupq_n_s32(0); 4]; T];
            for t in 0..T {
                sums[t] = dot_bytes::<8, { 128 * 127 }>(&signed, (&raw const (*x.add(t)).q).cast());
            }
            sums
        }

        fn signed(w: [Bytes; 8]) -> [Bytes; 8] { w }
        fn dots_ready<const T: usize>(w: &[Bytes; 8], x: *const Block) -> [Ints; T] { Self::dots_signed::<T>(w, x) }
    }
}
