//! The inner loop of products with four tokens on AVX2, written out as instructions.
//!
//! A group of four columns is multiplied with four tokens: of sixteen registers eight hold the sums, two the group's weights,
//! one the four columns of a token, two the products. A compiler adds in trees, for which there are too few registers, and
//! takes addresses of four bytes, which are slow to fetch; here every displacement is one byte.

use super::block::Block;
use core::arch::asm;
use core::arch::x86_64::__m256i;

/// Of four tokens two halves of eight rows each.
pub(super) type Tile = [[__m256i; 2]; 4];

/// One group of signed weights, as [`signed_group`] reads it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct SignedGroup {
    /// Absolute values.
    pub size: [__m256i; 2],
    /// All ones where the weight is below zero.
    pub sign: [__m256i; 2],
}

/// From the columns of a token in `{c}` to its sums of 16 bits: the first group makes them, others add to them.
macro_rules! make {
    ($low:literal, $high:literal) => {
        concat!("vpmaddubsw {", $low, "}, {a}, {c}\n", "vpmaddubsw {", $high, "}, {b}, {c}\n")
    };
}
macro_rules! join {
    ($low:literal, $high:literal) => {
        concat!(
            "vpmaddubsw {p}, {a}, {c}\n",
            "vpaddw {",
            $low,
            "}, {",
            $low,
            "}, {p}\n",
            "vpmaddubsw {q}, {b}, {c}\n",
            "vpaddw {",
            $high,
            "}, {",
            $high,
            "}, {q}\n",
        )
    };
}

/// From the columns of a token in `{c}` to its sums of 32 bits, likewise: `{a}` and `{b}` hold sizes, `{w}` points to the signs.
macro_rules! make_signed {
    ($low:literal, $high:literal) => {
        signed!($low, $high, "below0", "below1")
    };
}
macro_rules! join_signed {
    ($low:literal, $high:literal) => {
        signed!($low, $high, $low, $high)
    };
}
macro_rules! signed {
    ($low:literal, $high:literal, $to_low:literal, $to_high:literal) => {
        concat!(
            "vpxor {p}, {c}, [{w}]\n",
            "vpxor {q}, {c}, [{w} + 32]\n",
            "vpmaddubsw {p}, {a}, {p}\n",
            "vpmaddubsw {q}, {b}, {q}\n",
            "vpmaddwd {p}, {p}, {ones}\n",
            "vpmaddwd {q}, {q}, {ones}\n",
            "vpaddd {",
            $low,
            "}, {",
            $to_low,
            "}, {p}\n",
            "vpaddd {",
            $high,
            "}, {",
            $to_high,
            "}, {q}\n",
        )
    };
}

/// One group with four tokens: `{x}` points to the third token's block, columns are at `{at}`.
macro_rules! group {
    ($sum:ident) => {
        concat!(
            "vpbroadcastd {c}, dword ptr [{x} + {at} - 96]\n",
            $sum!("s0", "s1"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} - 48]\n",
            $sum!("s2", "s3"),
            "vpbroadcastd {c}, dword ptr [{x} + {at}]\n",
            $sum!("s4", "s5"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + 48]\n",
            $sum!("s6", "s7"),
        )
    };
}

const _: () = assert!(size_of::<Block>() == 48, "the distance of tokens in `group!`");

/// A tile of new sums: what the instructions read, and the sums that they make.
macro_rules! make_tile {
    ($group:expr, $weights:expr, $x:expr, $($more:tt)*) => {{
        let (s0, s1, s2, s3, s4, s5, s6, s7);
        // SAFETY: reads what the caller vouches for, and writes registers only.
        unsafe {
            asm!(
                $group, x = in(reg) $x.add(2), a = in(ymm_reg) $weights[0], b = in(ymm_reg) $weights[1], $($more)*
                s0 = out(ymm_reg) s0, s1 = out(ymm_reg) s1, s2 = out(ymm_reg) s2, s3 = out(ymm_reg) s3,
                s4 = out(ymm_reg) s4, s5 = out(ymm_reg) s5, s6 = out(ymm_reg) s6, s7 = out(ymm_reg) s7,
                c = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
    }};
}
/// The same, added to `$sums`.
macro_rules! join_tile {
    ($sums:expr, $group:expr, $weights:expr, $x:expr, $($more:tt)*) => {{
        let [[mut s0, mut s1], [mut s2, mut s3], [mut s4, mut s5], [mut s6, mut s7]] = $sums;
        // SAFETY: reads what the caller vouches for, and writes registers only.
        unsafe {
            asm!(
                $group, x = in(reg) $x.add(2), a = in(ymm_reg) $weights[0], b = in(ymm_reg) $weights[1], $($more)*
                s0 = inout(ymm_reg) s0, s1 = inout(ymm_reg) s1, s2 = inout(ymm_reg) s2, s3 = inout(ymm_reg) s3,
                s4 = inout(ymm_reg) s4, s5 = inout(ymm_reg) s5, s6 = inout(ymm_reg) s6, s7 = inout(ymm_reg) s7,
                c = out(ymm_reg) _, p = out(ymm_reg) _, q = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
    }};
}

/// `Σ w × x` over a group: columns `AT` … `AT + 3`, in 16 bits.
///
/// # Safety
///
/// The processor has AVX2; `x` is readable for four blocks; `AT` is at most 28.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn group<const AT: usize>(w: [__m256i; 2], x: *const Block) -> Tile {
    make_tile!(group!(make), w, x, at = const AT,)
}

/// `words +` the same.
///
/// # Safety
///
/// As [`group`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_group<const AT: usize>(words: Tile, w: [__m256i; 2], x: *const Block) -> Tile {
    join_tile!(words, group!(join), w, x, at = const AT,)
}

/// `below + Σ size × (x ^ sign)` over a group, in 32 bits; `ones` are words of one.
///
/// # Safety
///
/// As [`group`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn signed_group<const AT: usize>(
    below: [__m256i; 2],
    w: &SignedGroup,
    x: *const Block,
    ones: __m256i,
) -> Tile {
    make_tile!(
        group!(make_signed), w.size, x, at = const AT, w = in(reg) &w.sign, ones = in(ymm_reg) ones,
        below0 = in(ymm_reg) below[0], below1 = in(ymm_reg) below[1], p = out(ymm_reg) _, q = out(ymm_reg) _,
    )
}

/// `sums +` the same, without `below`.
///
/// # Safety
///
/// As [`group`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_signed_group<const AT: usize>(
    sums: Tile,
    w: &SignedGroup,
    x: *const Block,
    ones: __m256i,
) -> Tile {
    join_tile!(sums, group!(join_signed), w.size, x, at = const AT, w = in(reg) &w.sign, ones = in(ymm_reg) ones,)
}
