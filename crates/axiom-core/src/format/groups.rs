//! A block's codes in registers, and their products with activations: what the scales of every format are applied to.

use crate::arithmetic::block::Block;
use crate::arithmetic::simd::{Simd, unrolled};

/// Eight groups of 64 codes ([`super::codes`]).
pub trait Groups<S: Simd>: Copy {
    /// Whether the codes are signed numbers, with their zero taken off already.
    const IS_SIGNED: bool;
    /// Rows up to which a product takes them as they come from memory, tile by tile, and makes nothing ready.
    const FEW_ROWS: usize = 2;
    /// The same, made ready for many tokens.
    type Ready: Groups<S>;

    /// Makes them ready.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`.
    unsafe fn ready(self) -> Self::Ready;

    /// `Σ w q` over the block, for each of `T` tokens, whose blocks lie side by side.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `x` points to `T` blocks.
    unsafe fn dots<const T: usize>(&self, x: *const Block) -> [S::I; T];

    /// `scale[0] Σ_first16 w q + scale[1] Σ_last16 w q`, for each of `T` tokens; scales are pairs of equal numbers.
    ///
    /// # Safety
    ///
    /// As [`Groups::dots`].
    unsafe fn dots_halves<const T: usize>(&self, _x: *const Block, _scale: [S::I; 2]) -> [S::I; T] {
        unreachable!("no format has codes of 8 bits and a scale for each half of a block")
    }
}

/// Unsigned codes of at most `MAX`.
#[derive(Clone, Copy)]
pub struct Small<S: Simd, const MAX: i32>(pub [S::B; 8]);

impl<S: Simd, const MAX: i32> Groups<S> for Small<S, MAX> {
    const IS_SIGNED: bool = false;
    type Ready = Self;

    #[inline(always)]
    unsafe fn ready(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn dots<const T: usize>(&self, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { S::dots::<T, 8, MAX>(&self.0, x, 0) }
    }

    #[inline(always)]
    unsafe fn dots_halves<const T: usize>(&self, x: *const Block, scale: [S::I; 2]) -> [S::I; T] {
        // SAFETY: the caller's duty; a half is four groups and 16 columns.
        unsafe {
            let [mut first, last]: [[S::I; T]; 2] = unrolled!(2, |h| {
                let w = &*self.0.as_ptr().add(4 * h).cast::<[S::B; 4]>();
                S::dots_scaled::<T, MAX>(w, x, 16 * h, scale[h])
            });
            for t in 0..T {
                first[t] = S::add_i(first[t], last[t]);
            }
            first
        }
    }
}

/// Codes of 8 bits: signed bytes with their top bit flipped, as they come.
#[derive(Clone, Copy)]
pub struct Flipped<S: Simd>(pub [S::B; 8]);

impl<S: Simd> Groups<S> for Flipped<S> {
    const IS_SIGNED: bool = true;
    const FEW_ROWS: usize = S::FEW_SIGNED;
    type Ready = Signed<S>;

    #[inline(always)]
    unsafe fn ready(self) -> Signed<S> {
        // SAFETY: the caller's duty.
        unsafe { Signed(S::signed(self.0)) }
    }

    #[inline(always)]
    unsafe fn dots<const T: usize>(&self, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { S::dots_signed::<T>(&self.0, x) }
    }
}

/// The same, made ready for many tokens.
#[derive(Clone, Copy)]
pub struct Signed<S: Simd>(pub S::Signed);

impl<S: Simd> Groups<S> for Signed<S> {
    const IS_SIGNED: bool = true;
    type Ready = Self;

    #[inline(always)]
    unsafe fn ready(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn dots<const T: usize>(&self, x: *const Block) -> [S::I; T] {
        // SAFETY: the caller's duty.
        unsafe { S::dots_ready::<T>(&self.0, x) }
    }
}
