//! BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020), with 256 bits.

/// The digest of some bytes, what `b3sum` says of them.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    blake3::hash(bytes).into()
}
