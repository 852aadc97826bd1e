//! How a block's integer products become f32 and join the accumulator: three shapes serve all quantised formats
//! (`docs/arithmetic.md`, section 4).

use super::groups::Groups;
use crate::arithmetic::block::Block;
use crate::arithmetic::simd::{Simd, unrolled};

/// Scales of one block of 32 columns in 16 rows.
pub trait Scales<S: Simd>: Copy {
    /// The integer products of the block with `T` tokens, whose blocks lie side by side.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `x` points to `T` blocks.
    #[inline(always)]
    unsafe fn dots<G: Groups<S>, const T: usize>(&self, w: &G, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { w.dots::<T>(x) }
    }

    /// `acc` with those products added.
    ///
    /// # Safety
    ///
    /// As [`Scales::dots`].
    unsafe fn join<G: Groups<S>, const T: usize>(&self, acc: [S::F; T], dots: [S::I; T], x: *const Block) -> [S::F; T];
}

/// One scale: `acc + (d_w × d) × f32(Σ (w − ZERO) q)`.
#[derive(Clone, Copy)]
pub struct Scale<S: Simd, const ZERO: i32> {
    /// d_w of each row.
    pub d: S::F,
}

impl<S: Simd, const ZERO: i32> Scale<S, ZERO> {
    /// From a meta that holds, for each block, f16 d[16].
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `meta` has more than `i` blocks.
    #[inline(always)]
    pub unsafe fn load(meta: *const u8, i: usize) -> Scale<S, ZERO> {
        // SAFETY: the caller's duty; block i has 16 scales.
        unsafe { Scale { d: S::load_f16(meta.add(32 * i).cast()) } }
    }
}

impl<S: Simd, const ZERO: i32> Scales<S> for Scale<S, ZERO> {
    #[inline(always)]
    unsafe fn join<G: Groups<S>, const T: usize>(
        &self,
        mut acc: [S::F; T],
        dots: [S::I; T],
        x: *const Block,
    ) -> [S::F; T] {
        // SAFETY: the caller's duty.
        unsafe {
            for t in 0..T {
                let x = &*x.add(t);
                let zero = if G::IS_SIGNED { 0 } else { ZERO };
                let eight = S::splat_i(x.eight_sum);
                let sum = match zero {
                    8 => S::sub_i(dots[t], eight),
                    16 => S::sub_i(S::sub_i(dots[t], eight), eight),
                    _ => dots[t],
                };
                acc[t] = S::add(acc[t], S::mul(S::mul(self.d, S::splat(x.d)), S::to_f(sum)));
            }
            acc
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

impl<S: Simd> ScaleMin<S> {
    /// From a meta that holds, for each block, f16 d[16] and f16 m[16].
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `meta` has more than `i` blocks.
    #[inline(always)]
    pub unsafe fn load(meta: *const u8, i: usize) -> ScaleMin<S> {
        // SAFETY: the caller's duty; block i has 16 scales and 16 minima.
        unsafe {
            let meta = meta.add(64 * i);
            ScaleMin { d: S::load_f16(meta.cast()), m: S::load_f16(meta.add(32).cast()) }
        }
    }
}

impl<S: Simd> Scales<S> for ScaleMin<S> {
    #[inline(always)]
    unsafe fn join<G: Groups<S>, const T: usize>(
        &self,
        mut acc: [S::F; T],
        dots: [S::I; T],
        x: *const Block,
    ) -> [S::F; T] {
        // SAFETY: the caller's duty.
        unsafe {
            for t in 0..T {
                let x = &*x.add(t);
                let scaled = S::add(acc[t], S::mul(S::mul(self.d, S::splat(x.d)), S::to_f(dots[t])));
                acc[t] = S::add(scaled, S::mul(self.m, S::splat(x.m)));
            }
            acc
        }
    }
}

/// An integer scale for each 16 columns: `acc + (D × d) × f32(sc0 Σ_first + sc1 Σ_last)`, codes less a zero.
#[derive(Clone, Copy)]
pub struct Halves<S: Simd> {
    /// D of each row.
    pub d: S::F,
    /// The two scales of each row, each as a pair of equal numbers.
    scale: [S::I; 2],
    /// The two scales times −zero, as a pair: what the sums of the activations are multiplied with.
    zero: S::I,
}

impl<S: Simd> Halves<S> {
    /// With scales of 8 bits; codes mean `code − ZERO`.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`.
    #[inline(always)]
    pub unsafe fn new<const ZERO: i32>(d: S::F, scale: [S::I; 2]) -> Halves<S> {
        // SAFETY: the caller's duty.
        unsafe {
            let zero = unrolled!(2, |h| S::mul_i(scale[h], S::splat_i(-ZERO)));
            Halves { d, scale: unrolled!(2, |h| S::pair_i(scale[h], scale[h])), zero: S::pair_i(zero[0], zero[1]) }
        }
    }
}

impl<S: Simd> Scales<S> for Halves<S> {
    #[inline(always)]
    unsafe fn dots<G: Groups<S>, const T: usize>(&self, w: &G, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { w.dots_halves::<T>(x, self.scale) }
    }

    #[inline(always)]
    unsafe fn join<G: Groups<S>, const T: usize>(
        &self,
        mut acc: [S::F; T],
        dots: [S::I; T],
        x: *const Block,
    ) -> [S::F; T] {
        // SAFETY: the caller's duty.
        unsafe {
            for t in 0..T {
                let x = &*x.add(t);
                let zero = S::dot_pairs(self.zero, S::splat_i(x.s_bits()));
                let sum = S::to_f(S::add_i(dots[t], zero));
                acc[t] = S::add(acc[t], S::mul(S::mul(self.d, S::splat(x.d)), sum));
            }
            acc
        }
    }
}

/// An integer scale and minimum for each 16 columns:
/// `(acc + (D × d) × f32(sc0 Σ_first + sc1 Σ_last)) − (Dmin × d) × f32(mn0 s0 + mn1 s1)`.
#[derive(Clone, Copy)]
pub struct HalvesMin<S: Simd> {
    /// D of each row.
    d: S::F,
    /// Dmin of each row.
    d_min: S::F,
    /// The two scales of each row, each as a pair of equal numbers.
    scale: [S::I; 2],
    /// The two minima of each row, as a pair.
    min: S::I,
}

impl<S: Simd> HalvesMin<S> {
    /// With scales and minima of 4 bits.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`.
    #[inline(always)]
    pub unsafe fn new(d: S::F, d_min: S::F, scale: [S::I; 2], min: [S::I; 2]) -> HalvesMin<S> {
        // SAFETY: the caller's duty.
        unsafe {
            let scale = unrolled!(2, |h| S::pair_i(scale[h], scale[h]));
            HalvesMin { d, d_min, scale, min: S::pair_i(min[0], min[1]) }
        }
    }
}

impl<S: Simd> Scales<S> for HalvesMin<S> {
    #[inline(always)]
    unsafe fn dots<G: Groups<S>, const T: usize>(&self, w: &G, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { w.dots_halves::<T>(x, self.scale) }
    }

    #[inline(always)]
    unsafe fn join<G: Groups<S>, const T: usize>(
        &self,
        mut acc: [S::F; T],
        dots: [S::I; T],
        x: *const Block,
    ) -> [S::F; T] {
        // SAFETY: the caller's duty.
        unsafe {
            for t in 0..T {
                let x = &*x.add(t);
                let d = S::splat(x.d);
                let sum = S::to_f(dots[t]);
                let min = S::to_f(S::dot_pairs(self.min, S::splat_i(x.s_bits())));
                let scaled = S::add(acc[t], S::mul(S::mul(self.d, d), sum));
                acc[t] = S::sub(scaled, S::mul(S::mul(self.d_min, d), min));
            }
            acc
        }
    }
}
