//! Byte-level BPE: the bytes of a word are joined, pair by pair, in the order of the list of merges.
//!
//! Source: Sennrich et al. 2016, over bytes as in GPT-2. The merge that stands earliest in the list goes first, and of
//! its occurrences the leftmost. A pair listed twice has the rank of its first place.
//!
//! Some vocabularies lack bytes that occur in rare characters only. Such a byte is left out of the tokens, as the models'
//! own tokenizers leave it out.

use super::byte_level;
use super::merge::{Join, Merger, NONE};
use super::source::{KEY_MERGES, Strings, quoted};
use super::table::PairTable;
use super::vocab::Vocab;
use crate::error::Error;
use alloc::{borrow::Cow, string::String, vec::Vec};

/// What the algorithm needs beside the vocabulary.
#[derive(Debug)]
pub struct Bpe {
    pairs: PairTable,
    /// The token of each byte, or `NONE`.
    byte_ids: [u32; 256],
    /// Take a word that is a token whole, even where no merges lead to it.
    ignore_merges: bool,
}

impl Bpe {
    /// Check the merges: each names two tokens, and the two together are a token.
    ///
    /// A merge into a control or unknown token is left out, so that no text spells one.
    pub fn new(vocab: &Vocab, merges: Option<&Strings<'_>>, ignore_merges: bool) -> Result<Bpe, Error> {
        let wrong =
            |index, expected, got| Error::Metadata { key: KEY_MERGES, index, expected: Cow::Borrowed(expected), got };
        let merges = merges.ok_or_else(|| wrong(None, "a list of merges", String::from("none")))?;
        if merges.len() >= NONE as usize {
            return Err(wrong(None, "fewer than 2^32 - 1 merges", alloc::format!("{}", merges.len())));
        }
        let mut pairs = PairTable::with_capacity(merges.len());
        for (rank, merge) in merges.iter().enumerate() {
            // The first part may itself begin with a space, in vocabularies that are not byte-level throughout.
            let split = merge.iter().skip(1).position(|&byte| byte == b' ').map(|at| at + 1);
            let parts = split.map(|at| (&merge[..at], &merge[at + 1..])).filter(|(_, right)| !right.is_empty());
            let Some((left, right)) = parts else {
                return Err(wrong(Some(rank), "two tokens with a space between", quoted(merge)));
            };
            let named = |text: &[u8]| vocab.find(text.iter().copied());
            let joined = vocab.find(left.iter().chain(right).copied());
            let (Some(left), Some(right), Some(joined)) = (named(left), named(right), joined) else {
                return Err(wrong(Some(rank), "two tokens that together are a token", quoted(merge)));
            };
            if vocab.kind(joined).is_text() {
                let crowded = |_| {
                    wrong(Some(rank), "pairs that a hash spreads out", String::from("thousands that fall together"))
                };
                pairs.insert(left, right, rank as u32, joined).map_err(crowded)?;
            }
        }
        let mut byte_ids = [NONE; 256];
        for byte in 0..=255u8 {
            let id = vocab.find(byte_level::written(&[byte])).filter(|&id| vocab.kind(id).is_text());
            byte_ids[usize::from(byte)] = id.unwrap_or(NONE);
        }
        Ok(Bpe { pairs, byte_ids, ignore_merges })
    }

    /// Append the tokens of one word.
    pub(super) fn encode(&self, vocab: &Vocab, word: &[u8], merger: &mut Merger, ids: &mut Vec<u32>) {
        if self.ignore_merges {
            let whole = vocab.find(byte_level::written(word)).filter(|&id| vocab.kind(id).is_text());
            if let Some(id) = whole {
                ids.push(id);
                return;
            }
        }
        merger.clear();
        for (at, &byte) in word.iter().enumerate() {
            let (id, at) = (self.byte_ids[usize::from(byte)], at as u32);
            if id != NONE {
                merger.push(id, at, at + 1);
            }
        }
        merger.run(|left, right| {
            let (key, id) = self.pairs.find(left.id, right.id)?;
            Some(Join { key, id })
        });
        ids.extend(merger.symbols().map(|symbol| symbol.id));
    }
}
