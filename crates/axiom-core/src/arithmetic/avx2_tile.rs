//! The inner loops of products with four tokens on AVX2, written out as instructions.
//!
//! Two groups of four columns are multiplied with four tokens: of sixteen registers eight hold the sums, two the weights of a
//! group, one the four columns of a token, two the products. A compiler adds in trees, for which there are too few registers,
//! and takes addresses of four bytes, which are slow to fetch; here every displacement is one byte.

use super::block::Block;
use core::arch::asm;
use core::arch::x86_64::__m256i;

/// Of four tokens two halves of eight rows each.
pub(super) type Tile = [[__m256i; 2]; 4];

/// One group of signed weights, as [`two_signed`] reads it.
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
    ($w:literal, $low:literal, $high:literal) => {
        concat!("vpmaddubsw {", $low, "}, {a}, {c}\n", "vpmaddubsw {", $high, "}, {b}, {c}\n")
    };
}
macro_rules! join {
    ($w:literal, $low:literal, $high:literal) => {
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

/// From the columns of a token in `{c}` to its sums of 32 bits, likewise: `{a}` and `{b}` hold sizes, the signs follow them in
/// memory.
macro_rules! make_signed {
    ($w:literal, $low:literal, $high:literal) => {
        signed!($w, $low, $high, "below0", "below1")
    };
}
macro_rules! join_signed {
    ($w:literal, $low:literal, $high:literal) => {
        signed!($w, $low, $high, $low, $high)
    };
}
macro_rules! signed {
    ($w:literal, $low:literal, $high:literal, $to_low:literal, $to_high:literal) => {
        concat!(
            "vpxor {p}, {c}, [{w} + ",
            $w,
            " + 64]\n",
            "vpxor {q}, {c}, [{w} + ",
            $w,
            " + 96]\n",
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

/// One group: its weights at `$w`, its columns `$x` bytes from column `AT`. `{x}` points to the third token's block.
macro_rules! group {
    ($w:literal, $x:literal, $sum:ident) => {
        concat!(
            "vmovdqu {a}, [{w} + ",
            $w,
            "]\n",
            "vmovdqu {b}, [{w} + ",
            $w,
            " + 32]\n",
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            " - 96]\n",
            $sum!($w, "s0", "s1"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            " - 48]\n",
            $sum!($w, "s2", "s3"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            "]\n",
            $sum!($w, "s4", "s5"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            " + 48]\n",
            $sum!($w, "s6", "s7"),
        )
    };
}

const _: () = assert!(size_of::<Block>() == 48, "the distance of tokens in `group!`");

/// Two groups with four tokens: what the instructions read, and the sums that they make.
macro_rules! make_tile {
    ($first:expr, $second:expr, $w:expr, $x:expr, $($more:tt)*) => {{
        let (s0, s1, s2, s3, s4, s5, s6, s7);
        // SAFETY: reads what the caller vouches for, and writes registers only.
        unsafe {
            asm!(
                $first, $second, w = in(reg) $w, x = in(reg) $x.add(2), $($more)*
                s0 = out(ymm_reg) s0, s1 = out(ymm_reg) s1, s2 = out(ymm_reg) s2, s3 = out(ymm_reg) s3,
                s4 = out(ymm_reg) s4, s5 = out(ymm_reg) s5, s6 = out(ymm_reg) s6, s7 = out(ymm_reg) s7,
                a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, p = out(ymm_reg) _, q = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
    }};
}
/// The same, added to `$sums`.
macro_rules! join_tile {
    ($sums:expr, $first:expr, $second:expr, $w:expr, $x:expr, $($more:tt)*) => {{
        let [[mut s0, mut s1], [mut s2, mut s3], [mut s4, mut s5], [mut s6, mut s7]] = $sums;
        // SAFETY: reads what the caller vouches for, and writes registers only.
        unsafe {
            asm!(
                $first, $second, w = in(reg) $w, x = in(reg) $x.add(2), $($more)*
                s0 = inout(ymm_reg) s0, s1 = inout(ymm_reg) s1, s2 = inout(ymm_reg) s2, s3 = inout(ymm_reg) s3,
                s4 = inout(ymm_reg) s4, s5 = inout(ymm_reg) s5, s6 = inout(ymm_reg) s6, s7 = inout(ymm_reg) s7,
                a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, p = out(ymm_reg) _, q = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
    }};
}

/// `Σ w × x` over two groups: columns `AT` … `AT + 7`, in 16 bits.
///
/// # Safety
///
/// The processor has AVX2; `w` is readable for two groups, `x` for four blocks; `AT` is at most 24.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn two_groups<const AT: usize>(w: *const [__m256i; 2], x: *const Block) -> Tile {
    make_tile!(group!(0, 0, make), group!(64, 4, join), w, x, at = const AT,)
}

/// `words +` the same.
///
/// # Safety
///
/// As [`two_groups`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_two_groups<const AT: usize>(words: Tile, w: *const [__m256i; 2], x: *const Block) -> Tile {
    join_tile!(words, group!(0, 0, join), group!(64, 4, join), w, x, at = const AT,)
}

/// `below + Σ size × (x ^ sign)` over two groups, in 32 bits; `ones` are words of one.
///
/// # Safety
///
/// As [`two_groups`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn two_signed<const AT: usize>(
    below: [__m256i; 2],
    w: *const SignedGroup,
    x: *const Block,
    ones: __m256i,
) -> Tile {
    make_tile!(
        group!(-128, 0, make_signed), group!(0, 4, join_signed), w.add(1), x, at = const AT, ones = in(ymm_reg) ones,
        below0 = in(ymm_reg) below[0], below1 = in(ymm_reg) below[1],
    )
}

/// `sums +` the same, without `below`.
///
/// # Safety
///
/// As [`two_groups`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_two_signed<const AT: usize>(
    sums: Tile,
    w: *const SignedGroup,
    x: *const Block,
    ones: __m256i,
) -> Tile {
    join_tile!(
        sums, group!(-128, 0, join_signed), group!(0, 4, join_signed), w.add(1), x,
        at = const AT, ones = in(ymm_reg) ones,
    )
}
