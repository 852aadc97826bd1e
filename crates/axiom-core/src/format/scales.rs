//! How a block's integer products become f32 and join the accumulator: three shapes serve all quantised formats
//! (`docs/arithmetic.md`, section 4).

use super::codes::Codes;
use crate::arithmetic::activation::Block;
use crate::arithmetic::simd::{Simd, unrolled};

/// `Σ (w − ZERO) q`, in each row.
///
/// # Safety
///
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn centred<S: Simd, C: Codes>(w: &[S::B; 8], x: &Block, zero: i32) -> S::I {
    // SAFETY: the caller's duty.
    unsafe {
        let sum_x = x.s[0] + x.s[1];
        if C::MAX == 255 {
            // Only Q8_0 has codes of 8 bits; they are signed bytes with the top bit flipped.
            return S::dot_signed::<8>(w, x.q.as_ptr(), sum_x);
        }
        let dot = dot8::<S, C>(w, x.q.as_ptr());
        if zero == 0 { dot } else { S::sub_i(dot, S::splat_i(zero * sum_x)) }
    }
}

/// `S::dot` over eight groups, with the bound of the codes.
#[inline(always)]
unsafe fn dot8<S: Simd, C: Codes>(w: &[S::B; 8], x: *const i8) -> S::I {
    // SAFETY: the caller's duty.
    unsafe {
        match C::MAX {
            3 => S::dot::<8, 3>(w, x),
            7 => S::dot::<8, 7>(w, x),
            15 => S::dot::<8, 15>(w, x),
            31 => S::dot::<8, 31>(w, x),
            _ => S::dot::<8, 63>(w, x),
        }
    }
}

/// `S::dot` over the four groups of a half.
#[inline(always)]
unsafe fn dot4<S: Simd, C: Codes>(w: &[S::B; 8], half: usize, x: *const i8) -> S::I {
    let w = [w[4 * half], w[4 * half + 1], w[4 * half + 2], w[4 * half + 3]];
    // SAFETY: the caller's duty; the half's 16 activations.
    unsafe {
        let x = x.add(16 * half);
        match C::MAX {
            3 => S::dot::<4, 3>(&w, x),
            7 => S::dot::<4, 7>(&w, x),
            _ => S::dot::<4, 63>(&w, x),
        }
    }
}

/// Scales of one block of 32 columns in 16 rows.
pub trait Scales<S: Simd>: Copy {
    /// `acc` with the block's product added.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`.
    unsafe fn accumulate<C: Codes>(&self, acc: S::F, w: &[S::B; 8], x: &Block) -> S::F;
}

/// One scale: `acc + (d_w × d) × f32(Σ (w − ZERO) q)`.
#[derive(Clone, Copy)]
pub struct Scale<S: Simd, const ZERO: i32> {
    /// d_w of each row.
    pub d: S::F,
}

impl<S: Simd, const ZERO: i32> Scales<S> for Scale<S, ZERO> {
    #[inline(always)]
    unsafe fn accumulate<C: Codes>(&self, acc: S::F, w: &[S::B; 8], x: &Block) -> S::F {
        // SAFETY: the caller's duty.
        unsafe {
            let sum = centred::<S, C>(w, x, ZERO);
            S::add(acc, S::mul(S::mul(self.d, S::splat(x.d)), S::to_f(sum)))
        }
    }
}

/// Scale and minimum: `(acc + (d_w × d) × f32(Σ w q)) + m_w × m`.
#[derive(Clone, Copy)]
pub struct ScaleMin<S: Simd> {
    /// d_w of each row.
    pub d: S::F,
    /// m_w of each row.
    pub m: S::F,
}

impl<S: Simd> Scales<S> for ScaleMin<S> {
    #[inline(always)]
    unsafe fn accumulate<C: Codes>(&self, acc: S::F, w: &[S::B; 8], x: &Block) -> S::F {
        // SAFETY: the caller's duty.
        unsafe {
            let sum = centred::<S, C>(w, x, 0);
            let acc = S::add(acc, S::mul(S::mul(self.d, S::splat(x.d)), S::to_f(sum)));
            S::add(acc, S::mul(self.m, S::splat(x.m)))
        }
    }
}

/// An integer scale for each 16 columns: `acc + (D × d) × f32(sc0 Σ_first + sc1 Σ_last)`, codes less `ZERO`.
#[derive(Clone, Copy)]
pub struct Halves<S: Simd, const ZERO: i32> {
    /// D of each row.
    pub d: S::F,
    /// The two scales of each row.
    pub scale: [S::I; 2],
}

impl<S: Simd, const ZERO: i32> Scales<S> for Halves<S, ZERO> {
    #[inline(always)]
    unsafe fn accumulate<C: Codes>(&self, acc: S::F, w: &[S::B; 8], x: &Block) -> S::F {
        // SAFETY: the caller's duty.
        unsafe {
            let halves: [S::I; 2] = unrolled!(2, |h| {
                let dot = S::sub_i(dot4::<S, C>(w, h, x.q.as_ptr()), S::splat_i(ZERO * x.s[h]));
                S::mul_i(self.scale[h], dot)
            });
            let sum = S::to_f(S::add_i(halves[0], halves[1]));
            S::add(acc, S::mul(S::mul(self.d, S::splat(x.d)), sum))
        }
    }
}

/// An integer scale and minimum for each 16 columns:
/// `(acc + (D × d) × f32(sc0 Σ_first + sc1 Σ_last)) − (Dmin × d) × f32(mn0 s0 + mn1 s1)`.
#[derive(Clone, Copy)]
pub struct HalvesMin<S: Simd> {
    /// D of each row.
    pub d: S::F,
    /// Dmin of each row.
    pub d_min: S::F,
    /// The two scales of each row.
    pub scale: [S::I; 2],
    /// The two minima of each row.
    pub min: [S::I; 2],
}

impl<S: Simd> Scales<S> for HalvesMin<S> {
    #[inline(always)]
    unsafe fn accumulate<C: Codes>(&self, acc: S::F, w: &[S::B; 8], x: &Block) -> S::F {
        // SAFETY: the caller's duty.
        unsafe {
            let d = S::splat(x.d);
            let scaled: [S::I; 2] = unrolled!(2, |h| S::mul_i(self.scale[h], dot4::<S, C>(w, h, x.q.as_ptr())));
            let minima: [S::I; 2] = unrolled!(2, |h| S::mul_i(self.min[h], S::splat_i(x.s[h])));
            let sum = S::to_f(S::add_i(scaled[0], scaled[1]));
            let min = S::to_f(S::add_i(minima[0], minima[1]));
            let acc = S::add(acc, S::mul(S::mul(self.d, d), sum));
            S::sub(acc, S::mul(S::mul(self.d_min, d), min))
        }
    }
}
