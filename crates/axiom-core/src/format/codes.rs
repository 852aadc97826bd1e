//! How the integer codes of a block of 32 columns lie in a panel of 16 rows, for each width (`docs/formats.md`).
//!
//! All layouts serve one instruction: the product of four consecutive bytes of every row with four activations. Group g
//! of 64 bytes holds columns 4g … 4g + 3 of rows 0 … 15 (byte `row × 4 + t`); narrower codes share bytes so that a shift and
//! a mask bring out one group. `join` makes a block of its eight groups, `unpack` brings them out again in registers, and
//! `get` reads the codes of one row.

use super::groups::{Flipped, Groups, Small};
use crate::arithmetic::simd::{Simd, unrolled};

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

/// 4 bits: group g in the low halves of the g-th 64 bytes, group g + 4 in the high halves.
pub struct Nibbles;

impl Codes for Nibbles {
    const BYTES: usize = 256;
    type Unpacked<S: Simd> = Small<S, 15>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        let (low, high) = groups.split_at(256);
        for ((out, low), high) in block.iter_mut().zip(low).zip(high) {
            *out = low & 15 | high << 4;
        }
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[group % 4 * 64 + byte] >> (group / 4 * 4) & 15
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, 15> {
        // SAFETY: the caller's duty; four groups of 64 bytes.
        unsafe {
            let packed: [S::B; 4] = unrolled!(4, |g| S::load_b(block.add(64 * g)));
            Small(unrolled!(8, |g| if g < 4 {
                S::and_b(packed[g % 4], 15)
            } else {
                S::and_b(S::shr_b::<4>(packed[g % 4]), 15)
            }))
        }
    }
}

/// 2 bits: groups 0 … 3 in the bit pairs of 64 bytes, groups 4 … 7 in those of the next 64.
pub struct Crumbs;

impl Codes for Crumbs {
    const BYTES: usize = 128;
    type Unpacked<S: Simd> = Small<S, 3>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        Crumbs::join_from::<0>(groups, block);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[group / 4 * 64 + byte] >> (group % 4 * 2) & 3
        })
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, 3> {
        // SAFETY: the caller's duty; two groups of 64 bytes.
        unsafe {
            let packed: [S::B; 2] = unrolled!(2, |h| S::load_b(block.add(64 * h)));
            Small([
                S::and_b(packed[0], 3),
                S::and_b(S::shr_b::<2>(packed[0]), 3),
                S::and_b(S::shr_b::<4>(packed[0]), 3),
                S::and_b(S::shr_b::<6>(packed[0]), 3),
                S::and_b(packed[1], 3),
                S::and_b(S::shr_b::<2>(packed[1]), 3),
                S::and_b(S::shr_b::<4>(packed[1]), 3),
                S::and_b(S::shr_b::<6>(packed[1]), 3),
            ])
        }
    }
}

impl Crumbs {
    /// From bits `AT` and `AT + 1` of the groups' codes.
    fn join_from<const AT: u8>(groups: &GroupBytes, block: &mut [u8]) {
        for (out, four) in block.chunks_exact_mut(64).zip(groups.chunks_exact(256)) {
            for (i, out) in out.iter_mut().enumerate() {
                let crumb = |group: usize| four[64 * group + i] >> AT & 3;
                *out = crumb(0) | crumb(1) << 2 | crumb(2) << 4 | crumb(3) << 6;
            }
        }
    }
}

/// 1 bit: group g in bit g of 64 bytes. A part of wider codes.
struct Bits;

impl Bits {
    const BYTES: usize = 64;

    /// From bit `AT` of the groups' codes.
    fn join<const AT: u8>(groups: &GroupBytes, block: &mut [u8]) {
        block.fill(0);
        for (g, group) in groups.chunks_exact(64).enumerate() {
            for (out, code) in block.iter_mut().zip(group) {
                *out |= (code >> AT & 1) << g;
            }
        }
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        core::array::from_fn(|column| {
            let (group, byte) = place(column, row);
            block[byte] >> group & 1
        })
    }

    /// Bit g of each byte, moved to bit `AT` (2 or 4), for every group.
    ///
    /// # Safety
    ///
    /// As [`Codes::unpack`].
    #[inline(always)]
    unsafe fn unpack_at<S: Simd, const AT: i32>(block: *const u8) -> [S::B; 8] {
        const { assert!(AT == 2 || AT == 4) }
        // SAFETY: the caller's duty; 64 bytes.
        unsafe {
            let bits = S::load_b(block);
            let mask = 1u8 << AT;
            if AT == 4 {
                [
                    S::and_b(S::shl_b::<4>(bits), mask),
                    S::and_b(S::shl_b::<3>(bits), mask),
                    S::and_b(S::shl_b::<2>(bits), mask),
                    S::and_b(S::shl_b::<1>(bits), mask),
                    S::and_b(bits, mask),
                    S::and_b(S::shr_b::<1>(bits), mask),
                    S::and_b(S::shr_b::<2>(bits), mask),
                    S::and_b(S::shr_b::<3>(bits), mask),
                ]
            } else {
                [
                    S::and_b(S::shl_b::<2>(bits), mask),
                    S::and_b(S::shl_b::<1>(bits), mask),
                    S::and_b(bits, mask),
                    S::and_b(S::shr_b::<1>(bits), mask),
                    S::and_b(S::shr_b::<2>(bits), mask),
                    S::and_b(S::shr_b::<3>(bits), mask),
                    S::and_b(S::shr_b::<4>(bits), mask),
                    S::and_b(S::shr_b::<5>(bits), mask),
                ]
            }
        }
    }
}

/// 5 bits: nibbles, then the fifth bits.
pub struct Fives;

impl Codes for Fives {
    const BYTES: usize = Nibbles::BYTES + Bits::BYTES;
    type Unpacked<S: Simd> = Small<S, 31>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        let (low, high) = block.split_at_mut(Nibbles::BYTES);
        Nibbles::join(groups, low);
        Bits::join::<4>(groups, high);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        let (low, high) = (Nibbles::get(block, row), Bits::get(&block[Nibbles::BYTES..], row));
        core::array::from_fn(|c| low[c] | high[c] << 4)
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, 31> {
        // SAFETY: the caller's duty; the parts lie one after the other.
        unsafe {
            let low = Nibbles::unpack::<S>(block);
            let high = Bits::unpack_at::<S, 4>(block.add(Nibbles::BYTES));
            Small(unrolled!(8, |g| S::or_b(low.0[g], high[g])))
        }
    }
}

/// 6 bits: nibbles, then the upper two bits as crumbs.
pub struct Sixes;

impl Codes for Sixes {
    const BYTES: usize = Nibbles::BYTES + Crumbs::BYTES;
    type Unpacked<S: Simd> = Small<S, 63>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        let (low, high) = block.split_at_mut(Nibbles::BYTES);
        Nibbles::join(groups, low);
        Crumbs::join_from::<4>(groups, high);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        let (low, high) = (Nibbles::get(block, row), Crumbs::get(&block[Nibbles::BYTES..], row));
        core::array::from_fn(|c| low[c] | high[c] << 4)
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, 63> {
        // SAFETY: the caller's duty; the parts lie one after the other.
        unsafe {
            let low = Nibbles::unpack::<S>(block).0;
            let high = block.add(Nibbles::BYTES);
            let high: [S::B; 2] = unrolled!(2, |h| S::load_b(high.add(64 * h)));
            Small([
                S::or_b(low[0], S::and_b(S::shl_b::<4>(high[0]), 0x30)),
                S::or_b(low[1], S::and_b(S::shl_b::<2>(high[0]), 0x30)),
                S::or_b(low[2], S::and_b(high[0], 0x30)),
                S::or_b(low[3], S::and_b(S::shr_b::<2>(high[0]), 0x30)),
                S::or_b(low[4], S::and_b(S::shl_b::<4>(high[1]), 0x30)),
                S::or_b(low[5], S::and_b(S::shl_b::<2>(high[1]), 0x30)),
                S::or_b(low[6], S::and_b(high[1], 0x30)),
                S::or_b(low[7], S::and_b(S::shr_b::<2>(high[1]), 0x30)),
            ])
        }
    }
}

/// 3 bits: crumbs, then the third bits.
pub struct Threes;

impl Codes for Threes {
    const BYTES: usize = Crumbs::BYTES + Bits::BYTES;
    type Unpacked<S: Simd> = Small<S, 7>;

    fn join(groups: &GroupBytes, block: &mut [u8]) {
        let (low, high) = block.split_at_mut(Crumbs::BYTES);
        Crumbs::join(groups, low);
        Bits::join::<2>(groups, high);
    }

    fn get(block: &[u8], row: usize) -> [u8; 32] {
        let (low, high) = (Crumbs::get(block, row), Bits::get(&block[Crumbs::BYTES..], row));
        core::array::from_fn(|c| low[c] | high[c] << 2)
    }

    #[inline(always)]
    unsafe fn unpack<S: Simd>(block: *const u8) -> Small<S, 7> {
        // SAFETY: the caller's duty; the parts lie one after the other.
        unsafe {
            let low = Crumbs::unpack::<S>(block);
            let high = Bits::unpack_at::<S, 2>(block.add(Crumbs::BYTES));
            Small(unrolled!(8, |g| S::or_b(low.0[g], high[g])))
        }
    }
}
