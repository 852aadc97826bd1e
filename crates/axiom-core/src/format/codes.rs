//! How the integer codes of a block of 32 columns lie in a panel of 16 rows, for each width (`docs/formats.md`).
//!
//! All layouts serve one instruction: the product of four consecutive bytes of every row with four activations. Group g
//! of 64 bytes holds columns 4g … 4g + 3 of rows 0 … 15 (byte `row × 4 + t`); narrower codes share bytes so that a shift and
//! a mask bring out one group. `join` makes a block of its eight groups, `unpack` brings them out again in registers, and
//! `get` reads the codes of one row. Three pieces serve all narrower widths: 5 bits are a piece of four and one of one.

use super::groups::{Flipped, Groups, Small};
use crate::arithmetic::simd::{Simd, unrolled};
use core::marker::PhantomData;

/// Eight groups of 64 codes, a byte each: group g, byte `row × 4 + t` is the code of column 4g + t.
pub type GroupBytes = [u8; 512];

/// A layout of 32 columns × 16 rows of unsigned codes.
pub trait Codes {
    /// Bytes of a block.
    const BYTES: usize;
    /// Writes a block of eight groups of 64 codes.
    fn join(groups: &GroupBytes, block: &mut [u8]);
    /// Reads the codes of one row.
    fn get(block: &[u8], row: usize) -> [u8; 32];
    /// The eight groups in registers.
    type Unpacked<S: Simd>: Groups<S>;
    /// The eight groups: group g, byte `row × 4 + t` is the code of column 4g + t.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `block` is readable for `BYTES`.
    unsafe fn unpack<S: Simd>(block: *const u8) -> Self::Unpacked<S>;
}

/// The group of a column, and its byte there.
#[inline(always)]
pub(super) const fn place(column: usize, row: usize) -> (usize, usize) {
    (column / 4, row * 4 + column % 4)
}

/// 8 bits: eight groups as they come.
pub struct Bytes;

impl Codes for Bytes {
    const BYTES: usize = 512;
    type Unpacked<S: Simd> = Flipped<S>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        block.copy_from_slice(groups);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[group * 64 + byte]
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Flipped<S> {
        // SAFETY: the caller's duty; eight groups of 64 bytes.
        unsafe { Flipped(unrolled!(8, |g| S::load_b(block.add(64 * g)))) }
    }
}

/// 2 bits.
pub type Twos = Whole<Crumbs, 3>;
/// 3 bits: the lower two, then the third.
pub type Threes = Joined<Crumbs, Bits, 7>;
/// 4 bits.
pub type Fours = Whole<Nibbles, 15>;
/// 5 bits: the lower four, then the fifth.
pub type Fives = Joined<Nibbles, Bits, 31>;
/// 6 bits: the lower four, then the upper two.
pub type Sixes = Joined<Nibbles, Crumbs, 63>;

/// Codes of at most `MAX` that are one piece.
pub struct Whole<P: Piece, const MAX: i32>(PhantomData<P>);

impl<P: Piece, const MAX: i32> Codes for Whole<P, MAX> {
    const BYTES: usize = P::BYTES;
    type Unpacked<S: Simd> = Small<S, MAX>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        P::join(groups, 0, block);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        P::get(block, row)
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, MAX> {
        // SAFETY: the caller's duty.
        unsafe { Small(P::unpack::<S>(block, 0)) }
    }
}

/// Codes of at most `MAX` in two pieces, one after the other: their lower bits, then their upper bits.
pub struct Joined<L: Piece, H: Piece, const MAX: i32>(PhantomData<(L, H)>);

impl<L: Piece, H: Piece, const MAX: i32> Codes for Joined<L, H, MAX> {
    const BYTES: usize = L::BYTES + H::BYTES;
    type Unpacked<S: Simd> = Small<S, MAX>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        let (lower, upper) = block.split_at_mut(L::BYTES);
        L::join(groups, 0, lower);
        H::join(groups, L::BITS, upper);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        let (lower, upper) = (L::get(block, row), H::get(&block[L::BYTES..], row));
        core::array::from_fn(|c| lower[c] | upper[c] << L::BITS)
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, MAX> {
        // SAFETY: the caller's duty; the pieces lie one after the other.
        unsafe {
            let lower = L::unpack::<S>(block, 0);
            let upper = H::unpack::<S>(block.add(L::BYTES), L::BITS);
            Small(unrolled!(8, |g| S::or_b(lower[g], upper[g])))
        }
    }
}

/// Some bits of each code of a block.
pub trait Piece {
    /// Bits of a code.
    const BITS: usize;
    /// Bytes of a block.
    const BYTES: usize = 64 * Self::BITS;
    /// Takes the bits from bit `at` of the groups' codes on.
    fn join(groups: &GroupBytes, at: usize, block: &mut [u8]);
    /// Reads them for the codes of one row.
    fn get(block: &[u8], row: usize) -> [u8; 32];
    /// The bits of every group, moved to bit `at`.
    ///
    /// # Safety
    ///
    /// As [`Codes::unpack`].
    unsafe fn unpack<S: Simd>(block: *const u8, at: usize) -> [S::B; 8];
}

/// 4 bits: group g in the low halves of the g-th 64 bytes, group g + 4 in the high halves.
pub struct Nibbles;

impl Piece for Nibbles {
    const BITS: usize = 4;

    #[inline(always)]
    fn join(groups: &GroupBytes, at: usize, block: &mut [u8]) {
        let (low, high) = groups.split_at(256);
        for ((out, low), high) in block.iter_mut().zip(low).zip(high) {
            *out = low >> at & 15 | (high >> at & 15) << 4;
        }
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[group % 4 * 64 + byte] >> (group / 4 * 4) & 15
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8, at: usize) -> [S::B; 8] {
        // SAFETY: the caller's duty; four groups of 64 bytes.
        unsafe {
            let packed: [S::B; 4] = unrolled!(4, |g| S::load_b(block.add(64 * g)));
            unrolled!(8, |g| S::and_b(moved::<S>(packed[g % 4], g / 4 * 4, at), 15 << at))
        }
    }
}

/// 2 bits: groups 0 … 3 in the bit pairs of 64 bytes, groups 4 … 7 in those of the next 64.
pub struct Crumbs;

impl Piece for Crumbs {
    const BITS: usize = 2;

    #[inline(always)]
    fn join(groups: &GroupBytes, at: usize, block: &mut [u8]) {
        for (out, four) in block.chunks_exact_mut(64).zip(groups.chunks_exact(256)) {
            for (i, out) in out.iter_mut().enumerate() {
                let crumb = |group: usize| four[64 * group + i] >> at & 3;
                *out = crumb(0) | crumb(1) << 2 | crumb(2) << 4 | crumb(3) << 6;
            }
        }
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[group / 4 * 64 + byte] >> (group % 4 * 2) & 3
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8, at: usize) -> [S::B; 8] {
        // SAFETY: the caller's duty; two groups of 64 bytes.
        unsafe {
            let packed: [S::B; 2] = unrolled!(2, |h| S::load_b(block.add(64 * h)));
            unrolled!(8, |g| S::and_b(moved::<S>(packed[g / 4], g % 4 * 2, at), 3 << at))
        }
    }
}

/// 1 bit: group g in bit g of 64 bytes.
pub struct Bits;

impl Piece for Bits {
    const BITS: usize = 1;

    #[inline(always)]
    fn join(groups: &GroupBytes, at: usize, block: &mut [u8]) {
        block.fill(0);
        for (g, group) in groups.chunks_exact(64).enumerate() {
            for (out, code) in block.iter_mut().zip(group) {
                *out |= (code >> at & 1) << g;
            }
        }
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[byte] >> group & 1
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8, at: usize) -> [S::B; 8] {
        // SAFETY: the caller's duty; 64 bytes.
        unsafe {
            let bits = S::load_b(block);
            unrolled!(8, |g| S::and_b(moved::<S>(bits, g, at), 1 << at))
        }
    }
}

/// Every bit `from` at bit `to`; others anywhere. Both are known where this is compiled.
///
/// # Safety
///
/// The processor has the instructions of `S`.
#[inline(always)]
unsafe fn moved<S: Simd>(bytes: S::B, from: usize, to: usize) -> S::B {
    // SAFETY: the caller's duty.
    unsafe {
        match to as isize - from as isize {
            4 => S::shl_b::<4>(bytes),
            3 => S::shl_b::<3>(bytes),
            2 => S::shl_b::<2>(bytes),
            1 => S::shl_b::<1>(bytes),
            0 => bytes,
            -1 => S::shr_b::<1>(bytes),
            -2 => S::shr_b::<2>(bytes),
            -3 => S::shr_b::<3>(bytes),
            -4 => S::shr_b::<4>(bytes),
            -5 => S::shr_b::<5>(bytes),
            -6 => S::shr_b::<6>(bytes),
            _ => unreachable!("no piece lies {from} bits up and belongs at {to}"),
        }
    }
}
