//! Portable: sixteen lanes as plain arrays. The meaning of every operation, on any processor.

use super::block::Block;
use super::half::{bf16_to_f32, f16_to_f32, f32_to_f16};
use super::simd::{ByteProducts, Simd, simd_ops};
use core::array::from_fn;

/// Plain arrays; no instruction set at all.
#[derive(Clone, Copy)]
pub struct Portable;

/// 2^23 + 2^22: adding and subtracting it leaves a number below 2^22 rounded to nearest even.
const ROUND: f32 = 12_582_912.0;

/// Correctly rounded square root, by integers (`core` has none).
pub fn sqrt_f32(x: f32) -> f32 {
    let bits = x.to_bits();
    if bits & 0x7FFF_FFFF == 0 || bits == 0x7F80_0000 {
        return x;
    }
    if x.is_nan() || bits >> 31 == 1 {
        return f32::NAN;
    }
    let (mut exponent, mut mantissa) = ((bits >> 23) as i32, u64::from(bits & 0x7F_FFFF));
    if exponent == 0 {
        let shift = mantissa.leading_zeros() as i32 - 40;
        mantissa <<= shift;
        exponent = 1 - shift;
    } else {
        mantissa |= 0x80_0000;
    }
    // x = mantissa × 2^power. With an even power the root's is half of it; 28 or 29 more bits give a root of 26 or 27.
    let power = exponent - 150;
    let odd = power & 1;
    let scaled = mantissa << (28 + odd);
    let mut root_power = (power - odd - 28) / 2;
    let mut root = 0u64;
    let mut bit = 1u64 << 27;
    while bit != 0 {
        let trial = root | bit;
        if trial * trial <= scaled {
            root = trial;
        }
        bit >>= 1;
    }
    // Keep 26 bits: 24 and two to round by; `sticky` says whether anything lies below them.
    let mut sticky = u64::from(root * root != scaled);
    if root >= 1 << 26 {
        sticky |= root & 1;
        root >>= 1;
        root_power += 1;
    }
    let mut significand = root >> 2;
    let rest = ((root & 3) << 1) | sticky;
    if rest > 4 || (rest == 4 && significand & 1 == 1) {
        significand += 1;
    }
    root_power += 2;
    if significand == 1 << 24 {
        significand >>= 1;
        root_power += 1;
    }
    f32::from_bits((((root_power + 150) as u32) << 23) | (significand as u32 & 0x7F_FFFF))
}

#[inline(always)]
fn halfwords<const L: usize>(a: [u8; L], f: impl Fn(u16) -> u16) -> [u8; L] {
    let mut out = [0; L];
    for i in 0..L / 2 {
        let word = f(u16::from_le_bytes([a[2 * i], a[2 * i + 1]])).to_le_bytes();
        out[2 * i] = word[0];
        out[2 * i + 1] = word[1];
    }
    out
}

// SAFETY: no special instructions; pointers are read and written as the trait says.
unsafe impl Simd for Portable {
    type F = [f32; 16];
    type Q = [u8; 16];

    const TILE: usize = 1;
    const QUERIES: usize = 2;
    const TWO_STREAMS: bool = false;

    simd_ops! {
        fn splat(x: f32) -> Self::F {
            [x; 16]
        }
        fn load(p: *const f32) -> Self::F {
            p.cast::<[f32; 16]>().read_unaligned()
        }
        fn store(p: *mut f32, x: Self::F) {
            p.cast::<[f32; 16]>().write_unaligned(x)
        }
        fn load_f16(p: *const u16) -> Self::F {
            p.cast::<[u16; 16]>().read_unaligned().map(f16_to_f32)
        }
        fn load_bf16(p: *const u16) -> Self::F {
            p.cast::<[u16; 16]>().read_unaligned().map(bf16_to_f32)
        }
        fn store_f16(p: *mut u16, x: Self::F) {
            p.cast::<[u16; 16]>().write_unaligned(x.map(f32_to_f16))
        }
        fn add(a: Self::F, b: Self::F) -> Self::F {
            from_fn(|l| a[l] + b[l])
        }
        fn sub(a: Self::F, b: Self::F) -> Self::F {
            from_fn(|l| a[l] - b[l])
        }
        fn mul(a: Self::F, b: Self::F) -> Self::F {
            from_fn(|l| a[l] * b[l])
        }
        fn div(a: Self::F, b: Self::F) -> Self::F {
            from_fn(|l| a[l] / b[l])
        }
        fn sqrt(a: Self::F) -> Self::F {
            a.map(sqrt_f32)
        }
        fn max(a: Self::F, b: Self::F) -> Self::F {
            from_fn(|l| if a[l] > b[l] { a[l] } else { b[l] })
        }
        fn select_lt(a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
            from_fn(|l| if a[l] < b[l] { x[l] } else { y[l] })
        }
        fn keep_nan(a: Self::F, y: Self::F) -> Self::F {
            from_fn(|l| if a[l].is_nan() { a[l] } else { y[l] })
        }
        fn tree_sum(a: Self::F) -> f32 {
            let a: [f32; 8] = from_fn(|l| a[l] + a[l + 8]);
            let a: [f32; 4] = from_fn(|l| a[l] + a[l + 4]);
            (a[0] + a[2]) + (a[1] + a[3])
        }
        fn tree_max(a: Self::F) -> f32 {
            a.into_iter().fold(f32::NEG_INFINITY, |m, x| if m > x { m } else { x })
        }

        fn splat_i(x: i32) -> Self::I {
            [x; 16]
        }
        fn add_i(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| a[l].wrapping_add(b[l]))
        }
        fn sub_i(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| a[l].wrapping_sub(b[l]))
        }
        fn mul_i(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| a[l].wrapping_mul(b[l]))
        }
        fn shl_i<const N: i32>(a: Self::I) -> Self::I {
            a.map(|x| x << N)
        }
        fn max_i(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| a[l].max(b[l]))
        }
        fn pair_i(low: Self::I, high: Self::I) -> Self::I {
            from_fn(|l| low[l] & 0xFFFF | high[l] << 16)
        }
        fn dot_pairs(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| {
                let low = i32::from(a[l] as i16) * i32::from(b[l] as i16);
                low.wrapping_add((a[l] >> 16) * (b[l] >> 16))
            })
        }
        fn and_i(a: Self::I, b: Self::I) -> Self::I {
            from_fn(|l| a[l] & b[l])
        }
        fn to_f(a: Self::I) -> Self::F {
            a.map(|x| x as f32)
        }
        fn round_to_i(a: Self::F) -> Self::I {
            a.map(|x| ((x + ROUND) - ROUND) as i32)
        }
        fn bits(a: Self::F) -> Self::I {
            a.map(|x| x.to_bits() as i32)
        }
        fn from_bits(a: Self::I) -> Self::F {
            a.map(|x| f32::from_bits(x as u32))
        }
        fn store_i8(p: *mut i8, a: Self::I) {
            p.cast::<[i8; 16]>().write_unaligned(a.map(|x| x as i8))
        }
        fn sum_i(a: Self::I) -> i32 {
            a.into_iter().fold(0, i32::wrapping_add)
        }
        fn tree_max_i(a: Self::I) -> i32 {
            a.into_iter().fold(i32::MIN, i32::max)
        }

        fn load_b(p: *const u8) -> Self::B {
            p.cast::<[u8; 64]>().read_unaligned()
        }
        fn and_b(a: Self::B, m: u8) -> Self::B {
            a.map(|x| x & m)
        }
        fn or_b(a: Self::B, b: Self::B) -> Self::B {
            from_fn(|l| a[l] | b[l])
        }
        fn shr_b<const N: i32>(a: Self::B) -> Self::B {
            halfwords(a, |x| x >> N)
        }
        fn shl_b<const N: i32>(a: Self::B) -> Self::B {
            halfwords(a, |x| x << N)
        }

        fn load_q(p: *const u8) -> Self::Q {
            p.cast::<[u8; 16]>().read_unaligned()
        }
        fn and_q(a: Self::Q, m: u8) -> Self::Q {
            a.map(|x| x & m)
        }
        fn or_q(a: Self::Q, b: Self::Q) -> Self::Q {
            from_fn(|l| a[l] | b[l])
        }
        fn shr_q<const N: i32>(a: Self::Q) -> Self::Q {
            halfwords(a, |x| x >> N)
        }
        fn shl_q<const N: i32>(a: Self::Q) -> Self::Q {
            halfwords(a, |x| x << N)
        }
        fn unsigned_q(a: Self::Q) -> Self::I {
            a.map(i32::from)
        }
        fn signed_q(a: Self::Q) -> Self::I {
            a.map(|x| i32::from(x as i8))
        }
        fn prefetch(_p: *const u8) {}
    }
}

// SAFETY: pointers are used as the trait says.
unsafe impl ByteProducts for Portable {
    type I = [i32; 16];
    type B = [u8; 64];
    type Signed = [Self::B; 8];

    const BY_GROUP: bool = false;

    simd_ops! {
        fn dots<const T: usize, const N: usize, const MAX: i32>(
            w: &[Self::B; N], x: *const Block, at: usize,
        ) -> [Self::I; T] {
            let mut sums = [[0i32; 16]; T];
            for (t, sum) in sums.iter_mut().enumerate() {
                let x = &(*x.add(t)).q;
                for (g, w) in w.iter().enumerate() {
                    for row in 0..16 {
                        for i in 0..4 {
                            sum[row] += i32::from(w[row * 4 + i]) * i32::from(x[at + 4 * g + i]);
                        }
                    }
                }
            }
            sums
        }
        fn dots_scaled<const T: usize, const MAX: i32>(
            w: &[Self::B; 4], x: *const Block, at: usize, scale: Self::I,
        ) -> [Self::I; T] {
            Self::dots::<T, 4, MAX>(w, x, at).map(|sum| from_fn(|l| sum[l] * (scale[l] >> 16)))
        }
        fn dots_signed<const T: usize>(w: &[Self::B; 8], x: *const Block) -> [Self::I; T] {
            let sums = Self::dots::<T, 8, 255>(w, x, 0);
            from_fn(|t| sums[t].map(|sum| sum - 16 * (*x.add(t)).eight_sum))
        }

        fn signed(w: [Self::B; 8]) -> Self::Signed { w }
        fn dots_ready<const T: usize>(w: &Self::Signed, x: *const Block) -> [Self::I; T] { Self::dots_signed::<T>(w, x) }
    }
}
