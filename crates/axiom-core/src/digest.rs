//! BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020), with 256 bits: of some bytes, or of their pieces.
//!
//! The digest is the root of a binary tree, and a piece whose length is a power of two is a subtree of it. So pieces can be
//! digested by different workers, in any order, each as soon as its bytes are there.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// A digest, or what a piece adds to one.
pub type Digest = [u8; 32];

/// Bytes of a piece; the last of a run may have fewer. A power of two.
pub const BYTES_PIECE: usize = 2 << 20;

/// The digest of some bytes, what `b3sum` says of them.
pub fn digest(bytes: &[u8]) -> Digest {
    blake3::hash(bytes).into()
}

/// The digest of several parts, one after the other.
pub fn digest_of_parts(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Pieces of a run of `bytes`.
pub fn n_piece(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PIECE).max(1)
}

/// Gives bytes, in order, in parts of any lengths, to the function that it gets; false if they end too soon.
pub type Parts<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&[u8])) -> bool;

/// What piece `index` of `n_piece` adds to the digest of the run: of the only one, that digest. None if its parts end too soon.
pub fn digest_of_piece(index: usize, n_piece: usize, parts: Parts<'_>) -> Option<Digest> {
    let mut hasher = Hasher::new();
    hasher.set_input_offset((index * BYTES_PIECE) as u64);
    let is_whole = parts(&mut |part| {
        hasher.update(part);
    });
    is_whole.then(|| if n_piece == 1 { hasher.finalize().into() } else { hasher.finalize_non_root() })
}

/// The digest of a run from its pieces; `piece(index)` is asked for [`digest_of_piece`] of each of `n_piece`, in order.
pub fn digest_of_pieces(n_piece: usize, piece: &mut dyn FnMut(usize) -> Digest) -> Digest {
    if n_piece == 1 {
        return piece(0);
    }
    let (left, right) = halves(0, n_piece, piece);
    merge_subtrees_root(&left, &right, Mode::Hash).into()
}

/// The two parts of `n` ≥ 2 pieces from `first` on: as large a power of two as leaves something, and the rest.
fn halves(first: usize, n: usize, piece: &mut dyn FnMut(usize) -> Digest) -> (Digest, Digest) {
    let n_left = 1 << (n - 1).ilog2();
    let left = subtree(first, n_left, piece);
    (left, subtree(first + n_left, n - n_left, piece))
}

fn subtree(first: usize, n: usize, piece: &mut dyn FnMut(usize) -> Digest) -> Digest {
    if n == 1 {
        return piece(first);
    }
    let (left, right) = halves(first, n, piece);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn pieces_give_the_digest_of_the_whole() {
        // A prime period, so that exchanged pieces differ.
        let bytes: Vec<u8> = (0..5 * BYTES_PIECE + 4097).map(|i| (i % 251) as u8).collect();
        for n_whole in 0..=5 {
            for n_more in [0, 1, 1024, 4097] {
                let run = &bytes[..n_whole * BYTES_PIECE + n_more];
                let n = n_piece(run.len());
                let of = |index: usize| {
                    let end = ((index + 1) * BYTES_PIECE).min(run.len());
                    digest_of_piece(index, n, &mut |update| {
                        run[index * BYTES_PIECE..end].chunks(999).for_each(&mut *update);
                        true
                    })
                    .expect("its parts are whole")
                };
                assert_eq!(digest_of_pieces(n, &mut |index| of(index)), digest(run), "{} bytes", run.len());
                if n > 1 {
                    assert_ne!(digest_of_pieces(n, &mut |index| of(n - 1 - index)), digest(run), "{} bytes", run.len());
                }
            }
        }
    }
}
