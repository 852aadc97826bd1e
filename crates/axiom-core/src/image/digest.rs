//! BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020), with 256 bits.

use crate::model::Pieces;

/// The digest of some bytes, what `b3sum` says of them.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    blake3::hash(bytes).into()
}

/// The same of bytes that come in pieces.
pub fn digest_of_pieces(pieces: Pieces<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    pieces(&mut |piece| {
        hasher.update(piece);
    });
    hasher.finalize().into()
}
