//! The arithmetic that every body shares, to the bit.

pub mod float64;
