//! SentencePiece-BPE: characters are joined, pair by pair, to the token with the highest score.
//!
//! Source: SentencePiece (Kudo and Richardson 2018; `bpe_model.cc`). Spaces are written U+2581. Of two pairs with the
//! same score the left one goes first. What ends as no token is written as its UTF-8 bytes, one byte token each, and as
//! the unknown token where a byte has none.
//!
//! Only normal and user-defined tokens are made by joining, so no text spells a control or a byte token. Left out: the
//! normalisation maps of SentencePiece models, which models of this kind do not use.

use super::merge::{Join, Merger, NONE};
use super::source::{KEY_SCORES, check_length};
use super::vocab::{Kind, Vocab};
use crate::error::Error;
use alloc::{borrow::Cow, format, string::String, vec::Vec};

/// What the algorithm needs beside the vocabulary.
#[derive(Debug)]
pub struct Spm {
    /// For each token, its score as a key that is lower for a higher score.
    keys: Vec<u32>,
    /// The token of each byte, or `NONE`.
    byte_ids: [u32; 256],
    /// Written for bytes that have no token.
    unk: Option<u32>,
    /// Length of the longest token; a longer pair is not looked up.
    bytes_max: usize,
}

impl Spm {
    /// Check the scores and find the byte tokens.
    pub fn new(vocab: &Vocab, scores: Option<&[f32]>, unk: Option<u32>) -> Result<Spm, Error> {
        let scores = scores.ok_or(Error::Metadata {
            key: KEY_SCORES,
            index: None,
            expected: Cow::Borrowed("a score for each token"),
            got: String::from("none"),
        })?;
        check_length(KEY_SCORES, scores.len(), vocab.n_vocab())?;
        let mut keys = Vec::with_capacity(scores.len());
        for (index, &score) in scores.iter().enumerate() {
            if !score.is_finite() {
                let expected = Cow::Borrowed("a finite score");
                return Err(Error::Metadata { key: KEY_SCORES, index: Some(index), expected, got: format!("{score}") });
            }
            keys.push(key_of(score));
        }
        let mut byte_ids = [NONE; 256];
        let mut bytes_max = 0;
        for id in 0..vocab.n_vocab() as u32 {
            bytes_max = bytes_max.max(vocab.text(id).len());
            if vocab.kind(id) == Kind::Byte {
                byte_ids[usize::from(vocab.piece(id)[0])] = id;
            }
        }
        Ok(Spm { keys, byte_ids, unk, bytes_max })
    }

    /// Append the tokens of `text`, in which spaces are escaped already.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        merger: &mut Merger,
        ids: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let bytes = text.as_bytes();
        let token_of = |start: u32, end: u32| {
            let word = &bytes[start as usize..end as usize];
            if word.len() > self.bytes_max {
                return None;
            }
            vocab.find(word.iter().copied()).filter(|&id| vocab.kind(id).is_text())
        };
        merger.clear();
        for (start, c) in text.char_indices() {
            let (start, end) = (start as u32, (start + c.len_utf8()) as u32);
            merger.push(token_of(start, end).unwrap_or(NONE), start, end);
        }
        merger.run(|left, right| {
            let id = token_of(left.start, right.end)?;
            Some(Join { key: self.keys[id as usize], id })
        });
        for symbol in merger.symbols() {
            if symbol.id != NONE {
                ids.push(symbol.id);
                continue;
            }
            for &byte in &bytes[symbol.start as usize..symbol.end as usize] {
                let id = Some(self.byte_ids[usize::from(byte)]).filter(|&id| id != NONE).or(self.unk);
                ids.push(id.ok_or(Error::NoTokenForByte { byte })?);
            }
        }
        Ok(())
    }
}

/// A number that orders finite scores from high to low; both zeros are one.
fn key_of(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::key_of;

    #[test]
    fn keys_order_scores_from_high_to_low() {
        let scores = [f32::MAX, 3.5, 1.0, 1e-40, 0.0, -1e-40, -1.0, -2.0, -1e9, f32::MIN];
        for pair in scores.windows(2) {
            assert!(key_of(pair[0]) < key_of(pair[1]), "{pair:?}");
        }
        assert_eq!(key_of(0.0), key_of(-0.0));
    }
}
