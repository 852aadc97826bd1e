//! The bit contract: what every number is, on every processor (`docs/arithmetic.md`).
//!
//! [`simd`] names the vector operations; [`portable`], [`sse2`], [`avx2`], [`avxvnni`], [`avx512`], [`neon`] and [`dotprod`]
//! implement them with the same names ([`ymm`] is what [`avx2`] and [`avxvnni`] share, [`quads`] what [`neon`] and [`dotprod`]
//! do, `avx2_tile` holds loops of [`avx2`], in instructions); their products read [`block`]s. [`elementary`], [`activation`],
//! [`vector`] and [`attention`], which is made of [`strip`]s, are the kernels, written once over any of them. [`half`] and
//! [`float64`] are scalar.

pub mod activation;
pub mod attention;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_tile;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avxvnni;
pub mod block;
#[cfg(target_arch = "aarch64")]
pub mod dotprod;
pub mod elementary;
pub mod float64;
pub mod half;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;
#[cfg(target_arch = "aarch64")]
pub mod quads;
pub mod simd;
#[cfg(target_arch = "x86_64")]
pub mod sse2;
pub mod strip;
pub mod vector;
#[cfg(target_arch = "x86_64")]
pub mod ymm;

/// Lanes of a vector; rows of a panel; positions of a key panel.
pub const LANES: usize = 16;
/// Values of a block that shares one activation scale.
pub const BLOCK: usize = 32;
/// Positions of an attention tile, and of a slab of the key-value cache.
pub const TILE_POSITIONS: usize = 128;
/// The contract's name, written into receipts; it changes with any bit.
pub const CONTRACT: &str = "axiom-arithmetic-1";
