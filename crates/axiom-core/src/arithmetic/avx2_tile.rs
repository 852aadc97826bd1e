//! The inner loop of products with four tokens on AVX2, written out as instructions.
//!
//! Two groups of four columns are multiplied with four tokens: of sixteen registers eight hold the sums, two the weights of a
//! group, one the four columns of a token, two the products. A compiler adds in trees, for which there are too few registers,
//! and takes addresses of four bytes, which are slow to fetch; here every displacement is one byte.

use super::activation::Block;
use core::arch::asm;
use core::arch::x86_64::__m256i;

/// Sums of four tokens, 16 bits each, in two halves of eight rows.
pub(super) type Words = [[__m256i; 2]; 4];

/// From the columns of a token in `{c}` to its sums: the first group makes them, others add to them.
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
            $sum!("s0", "s1"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            " - 48]\n",
            $sum!("s2", "s3"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            "]\n",
            $sum!("s4", "s5"),
            "vpbroadcastd {c}, dword ptr [{x} + {at} + ",
            $x,
            " + 48]\n",
            $sum!("s6", "s7"),
        )
    };
}

const _: () = assert!(size_of::<Block>() == 48, "the distance of tokens in `group!`");

/// `Σ w × x` over two groups: columns `AT` … `AT + 7`.
///
/// # Safety
///
/// The processor has AVX2; `w` is readable for two groups, `x` for four blocks; `AT` is at most 24.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn two_groups<const AT: usize>(w: *const [__m256i; 2], x: *const Block) -> Words {
    let (s0, s1, s2, s3, s4, s5, s6, s7);
    // SAFETY: reads what the caller vouches for, and writes registers only.
    unsafe {
        asm!(
            group!(0, 0, make),
            group!(64, 4, join),
            w = in(reg) w, x = in(reg) x.add(2), at = const AT,
            s0 = out(ymm_reg) s0, s1 = out(ymm_reg) s1, s2 = out(ymm_reg) s2, s3 = out(ymm_reg) s3,
            s4 = out(ymm_reg) s4, s5 = out(ymm_reg) s5, s6 = out(ymm_reg) s6, s7 = out(ymm_reg) s7,
            a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, p = out(ymm_reg) _, q = out(ymm_reg) _,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
}

/// `words + Σ w × x` over two groups.
///
/// # Safety
///
/// As [`two_groups`].
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn add_two_groups<const AT: usize>(words: Words, w: *const [__m256i; 2], x: *const Block) -> Words {
    let [[mut s0, mut s1], [mut s2, mut s3], [mut s4, mut s5], [mut s6, mut s7]] = words;
    // SAFETY: reads what the caller vouches for, and writes registers only.
    unsafe {
        asm!(
            group!(0, 0, join),
            group!(64, 4, join),
            w = in(reg) w, x = in(reg) x.add(2), at = const AT,
            s0 = inout(ymm_reg) s0, s1 = inout(ymm_reg) s1, s2 = inout(ymm_reg) s2, s3 = inout(ymm_reg) s3,
            s4 = inout(ymm_reg) s4, s5 = inout(ymm_reg) s5, s6 = inout(ymm_reg) s6, s7 = inout(ymm_reg) s7,
            a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _, p = out(ymm_reg) _, q = out(ymm_reg) _,
            options(pure, readonly, nostack, preserves_flags)
        );
    }
    [[s0, s1], [s2, s3], [s4, s5], [s6, s7]]
}
