//! Weight formats: one file each, with the GGUF block, how it decodes, how it packs into a panel and what its scales mean.
//!
//! A [`BlockFormat`] describes the GGUF side: where codes and scales sit in a block. [`codes`], [`scales`] and [`panel`] are the
//! side that the kernels of [`product`] read. [`pack`] moves bytes from one to the other without changing any.

mod bf16;
pub mod codes;
mod f16;
mod f32;
mod groups;
mod k_scales;
mod many_rows;
pub mod pack;
pub mod panel;
pub mod product;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
pub mod scales;

pub use self::bf16::Bf16;
pub use self::f16::F16;
pub use self::f32::F32;
pub use self::q2_k::Q2K;
pub use self::q3_k::Q3K;
pub use self::q4_0::Q4_0;
pub use self::q4_1::Q4_1;
pub use self::q4_k::Q4K;
pub use self::q5_0::Q5_0;
pub use self::q5_1::Q5_1;
pub use self::q5_k::Q5K;
pub use self::q6_k::Q6K;
pub use self::q8_0::Q8_0;

use self::codes::Codes;
use self::panel::CHUNK_BLOCKS;
use crate::arithmetic::half::f16_to_f32;
use crate::arithmetic::{BLOCK, LANES};

/// The weight formats that Axiom computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// 8-bit codes, a scale for each 32.
    Q8_0,
    /// 4-bit codes, a scale for each 32.
    Q4_0,
    /// 4-bit codes, scale and minimum for each 32.
    Q4_1,
    /// 5-bit codes, a scale for each 32.
    Q5_0,
    /// 5-bit codes, scale and minimum for each 32.
    Q5_1,
    /// 2-bit codes, 4-bit scale and minimum for each 16.
    Q2K,
    /// 3-bit codes, 6-bit scale for each 16.
    Q3K,
    /// 4-bit codes, 6-bit scale and minimum for each 32.
    Q4K,
    /// 5-bit codes, 6-bit scale and minimum for each 32.
    Q5K,
    /// 6-bit codes, 8-bit scale for each 16.
    Q6K,
}

/// Evaluates `$body` with `$F` naming the type of a quantised format, or `$plain` with `$P` naming that of a plain one.
macro_rules! with_format {
    ($format:expr, $F:ident => $body:expr, $P:ident => $plain:expr) => {
        match $format {
            $crate::format::Format::F32 => {
                type $P = $crate::format::F32;
                $plain
            }
            $crate::format::Format::F16 => {
                type $P = $crate::format::F16;
                $plain
            }
            $crate::format::Format::BF16 => {
                type $P = $crate::format::Bf16;
                $plain
            }
            $crate::format::Format::Q8_0 => {
                type $F = $crate::format::Q8_0;
                $body
            }
            $crate::format::Format::Q4_0 => {
                type $F = $crate::format::Q4_0;
                $body
            }
            $crate::format::Format::Q4_1 => {
                type $F = $crate::format::Q4_1;
                $body
            }
            $crate::format::Format::Q5_0 => {
                type $F = $crate::format::Q5_0;
                $body
            }
            $crate::format::Format::Q5_1 => {
                type $F = $crate::format::Q5_1;
                $body
            }
            $crate::format::Format::Q2K => {
                type $F = $crate::format::Q2K;
                $body
            }
            $crate::format::Format::Q3K => {
                type $F = $crate::format::Q3K;
                $body
            }
            $crate::format::Format::Q4K => {
                type $F = $crate::format::Q4K;
                $body
            }
            $crate::format::Format::Q5K => {
                type $F = $crate::format::Q5K;
                $body
            }
            $crate::format::Format::Q6K => {
                type $F = $crate::format::Q6K;
                $body
            }
        }
    };
}
pub(crate) use with_format;

impl Format {
    /// Every format, in the order of its number.
    pub const ALL: [Format; 13] = [
        Format::F32,
        Format::F16,
        Format::BF16,
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q2K,
        Format::Q3K,
        Format::Q4K,
        Format::Q5K,
        Format::Q6K,
    ];

    /// The name in GGUF tools: `Q4_K`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::F32 => "F32",
            Format::F16 => "F16",
            Format::BF16 => "BF16",
            Format::Q8_0 => "Q8_0",
            Format::Q4_0 => "Q4_0",
            Format::Q4_1 => "Q4_1",
            Format::Q5_0 => "Q5_0",
            Format::Q5_1 => "Q5_1",
            Format::Q2K => "Q2_K",
            Format::Q3K => "Q3_K",
            Format::Q4K => "Q4_K",
            Format::Q5K => "Q5_K",
            Format::Q6K => "Q6_K",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Columns of a GGUF block (1, 32 or 256).
    pub fn columns_per_block(self) -> usize {
        with_format!(self, F => F::COLUMNS, P => { let _: P; 1 })
    }

    /// Whether products with this format read quantised activations.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Format::F32 | Format::F16 | Format::BF16)
    }

    /// Bytes of a row in GGUF; `None` if `n_col` is not a whole number of blocks or the size overflows.
    pub fn bytes_row(self, n_col: usize) -> Option<usize> {
        with_format!(
            self,
            F => if n_col.is_multiple_of(F::COLUMNS) { (n_col / F::COLUMNS).checked_mul(F::BYTES) } else { None },
            P => n_col.checked_mul(<P as panel::Plain>::BYTES)
        )
    }

    /// Bytes of a panel of 16 rows; as [`Format::bytes_row`], with columns of plain formats padded to 32.
    pub fn bytes_panel(self, n_col: usize) -> Option<usize> {
        let n_col = if self.is_quantized() { n_col } else { n_col.checked_next_multiple_of(BLOCK)? };
        self.bytes_row(n_col)?.checked_mul(LANES)
    }

    /// Bytes of all panels of a matrix.
    pub fn bytes_matrix(self, n_row: usize, n_col: usize) -> Option<usize> {
        self.bytes_panel(n_col)?.checked_mul(n_row.div_ceil(LANES))
    }

    /// Turns one GGUF row into f32 (`docs/arithmetic.md`, section 4).
    ///
    /// # Panics
    ///
    /// If the row's length is not that of `out.len()` columns.
    pub fn dequantize_row(self, row: &[u8], out: &mut [f32]) {
        assert_eq!(Some(row.len()), self.bytes_row(out.len()), "row of {} columns in {}", out.len(), self.name());
        with_format!(
            self,
            F => for (block, out) in row.chunks_exact(F::BYTES).zip(out.chunks_exact_mut(F::COLUMNS)) {
                F::dequantize(block, out);
            },
            P => for (number, out) in row.chunks_exact(<P as panel::Plain>::BYTES).zip(out) {
                *out = P::number(number);
            }
        )
    }
}

/// Numbers of a GGUF block that follow each other there; panels hold each of 16 rows side by side.
#[derive(Clone, Copy)]
pub struct Fields {
    /// Where the first is in the block.
    offset: usize,
    /// Bytes of each, 1 or 2.
    size: usize,
    n: usize,
}

/// `n` of two bytes.
const fn f16s(offset: usize, n: usize) -> Fields {
    Fields { offset, size: 2, n }
}

/// `n` of one byte.
const fn bytes(offset: usize, n: usize) -> Fields {
    Fields { offset, size: 1, n }
}

/// The GGUF side of a quantised format.
pub trait BlockFormat: panel::Quantized {
    /// Columns of a block, 32 or 256.
    const COLUMNS: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Its scales, in the order in which panels hold them.
    const FIELDS: &'static [Fields];

    /// The codes of columns 32i … 32i + 31.
    fn codes(block: &[u8], i: usize) -> [u8; 32];
    /// Writes them; the block starts as zeros.
    fn set_codes(block: &mut [u8], i: usize, codes: &[u8; 32]);
    /// The block as f32.
    fn dequantize(block: &[u8], out: &mut [f32]);

    /// Bytes of meta in a chunk of `n_block` blocks of 32 columns.
    #[inline(always)]
    fn meta_bytes(n_block: usize) -> usize {
        // Blocks of 256 columns are chunks.
        let n_gguf = if Self::COLUMNS == BLOCK { n_block } else { 1 };
        n_gguf * const { bytes_meta(Self::FIELDS) }
    }

    /// Bytes of a block of a whole chunk: its codes and its share of the meta.
    #[inline(always)]
    fn bytes_block() -> usize {
        Self::meta_bytes(CHUNK_BLOCKS) / CHUNK_BLOCKS + Self::Codes::BYTES
    }
}

/// Bytes of panel meta for one GGUF block of 16 rows.
const fn bytes_meta(fields: &[Fields]) -> usize {
    let mut bytes = 0;
    let mut i = 0;
    while i < fields.len() {
        bytes += fields[i].size * fields[i].n * LANES;
        i += 1;
    }
    bytes
}

/// Sizes add up: a panel has the bytes of its 16 GGUF rows.
const fn size_kept<F: BlockFormat>() -> bool {
    F::COLUMNS / BLOCK * <F::Codes as Codes>::BYTES + bytes_meta(F::FIELDS) == F::BYTES * LANES
}
const _: () = assert!(size_kept::<Q8_0>() && size_kept::<Q4_0>() && size_kept::<Q4_1>() && size_kept::<Q5_0>());
const _: () = assert!(size_kept::<Q5_1>() && size_kept::<Q2K>() && size_kept::<Q3K>() && size_kept::<Q4K>());
const _: () = assert!(size_kept::<Q5K>() && size_kept::<Q6K>());

/// `N` bytes of a block: one check, so that loops over them have none.
#[inline(always)]
fn bytes_at<const N: usize>(block: &[u8], offset: usize) -> &[u8; N] {
    block[offset..].first_chunk().expect("a whole block")
}

/// `f` of the bytes, eight at a time.
#[inline(always)]
fn by_eights<const N: usize>(bytes: &[u8; N], f: impl Fn(u64) -> u64) -> [u8; N] {
    let mut out = [0; N];
    for (out, eight) in out.as_chunks_mut::<8>().0.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *out = f(u64::from_le_bytes(*eight)).to_le_bytes();
    }
    out
}

/// `byte >> shift & mask` for each byte.
#[inline(always)]
fn shifted<const N: usize>(bytes: &[u8; N], shift: usize, mask: u8) -> [u8; N] {
    moved(bytes, shift, mask, 0)
}

/// `(byte >> from & mask) << to` for each byte.
#[inline(always)]
fn moved<const N: usize>(bytes: &[u8; N], from: usize, mask: u8, to: usize) -> [u8; N] {
    by_eights(bytes, |eight| (eight >> from & u64::from_le_bytes([mask; 8])) << to)
}

/// Low halves of 16 bytes, then their high halves.
#[inline(always)]
fn halves(bytes: &[u8; 16]) -> [u8; 32] {
    let mut out = [0; 32];
    out[..16].copy_from_slice(&shifted(bytes, 0, 15));
    out[16..].copy_from_slice(&shifted(bytes, 4, 15));
    out
}

/// Bit c of four bytes as 16 in byte c.
#[inline(always)]
fn fifths(bits: &[u8; 4]) -> [u8; 32] {
    let mut out = [0; 32];
    for (out, byte) in out.as_chunks_mut::<8>().0.iter_mut().zip(bits) {
        // Byte c keeps bit c; adding 0x7F carries it to bit 7.
        let kept = u64::from_le_bytes([*byte; 8]) & 0x8040_2010_0804_0201;
        *out = ((kept + 0x7F7F_7F7F_7F7F_7F7F) >> 3 & 0x1010_1010_1010_1010).to_le_bytes();
    }
    out
}

/// `a | b` in each byte.
#[inline(always)]
fn either<const N: usize>(a: [u8; N], b: [u8; N]) -> [u8; N] {
    core::array::from_fn(|c| a[c] | b[c])
}

/// The f16 at a byte offset, as f32.
#[inline(always)]
fn f16_at(block: &[u8], offset: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[offset], block[offset + 1]]))
}
