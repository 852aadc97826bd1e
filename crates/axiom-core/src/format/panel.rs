//! A panel: 16 rows of a matrix, laid out so that a lane is a row.
//!
//! A panel is a run of chunks of up to 256 columns; a chunk is the meta of its blocks (scales, 16 rows side by side) and
//! then their codes ([`super::codes`]). It has the size of the 16 rows in GGUF, is read once from first to last byte, and does
//! not depend on the instruction set (`docs/formats.md`).

use super::codes::Codes;
use super::scales::Scales;
use crate::arithmetic::simd::Simd;

/// Blocks of 32 columns in a whole chunk.
pub const CHUNK_BLOCKS: usize = 8;
/// Bytes of a cache line, or of a part of one.
pub(super) const LINE: usize = 64;

/// A format whose panels hold integer codes.
pub trait Quantized {
    /// Layout of the codes.
    type Codes: Codes;
    /// Shape of the scales.
    type Scales<S: Simd>: Scales<S>;
    /// The scales of block `i` of a chunk.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `meta` is the meta of a chunk of more than `i` blocks.
    unsafe fn scales<S: Simd>(meta: *const u8, i: usize) -> Self::Scales<S>;
}

/// A format whose panels hold the numbers themselves: column k of row r at `k × 16 + r`.
pub trait Plain {
    /// Bytes of a number.
    const BYTES: usize;
    /// 16 rows of a column as f32.
    ///
    /// # Safety
    ///
    /// The processor has the instructions of `S`; `p` is readable for 16 numbers.
    unsafe fn load<S: Simd>(p: *const u8) -> S::F;
}
