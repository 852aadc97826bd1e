//! What a model file says about its tokenizer, unchecked: `Vocab::new` and the algorithms accept it or say what is wrong.

use crate::error::Error;
use alloc::{format, string::String, vec::Vec};

/// Key of the token texts.
pub const KEY_TOKENS: &str = "tokenizer.ggml.tokens";
/// Key of the kinds of tokens.
pub const KEY_TYPES: &str = "tokenizer.ggml.token_type";
/// Key of the scores.
pub const KEY_SCORES: &str = "tokenizer.ggml.scores";
/// Key of the merges.
pub const KEY_MERGES: &str = "tokenizer.ggml.merges";

/// The roles that a file gives by id, as metadata keys.
pub const ROLES: [&str; 10] = [
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.unknown_token_id",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.padding_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Where the string that begins at `at` ends, in an array as a model file holds it: for each string its length, a u64, and that
/// many bytes. `None` if the length is not in `raw`; the end may lie outside.
pub fn end_of_string(raw: &[u8], at: usize) -> Option<u64> {
    let length = raw.get(at..)?.first_chunk()?;
    Some((at as u64 + 8).saturating_add(u64::from_le_bytes(*length)))
}

/// Such an array.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    raw: &'a [u8],
    /// For each string, where its bytes begin and end.
    places: Vec<(usize, usize)>,
}

impl<'a> Strings<'a> {
    /// The first `n` strings of `raw`.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] for the first that does not lie inside.
    pub fn read(key: &'static str, raw: &'a [u8], n: usize) -> Result<Self, Error> {
        // Each has at least its length: a count that is not true reserves no more than the file has.
        let mut places = Vec::with_capacity(n.min(raw.len() / 8));
        let mut at = 0;
        for index in 0..n {
            let end = end_of_string(raw, at).filter(|end| *end <= raw.len() as u64).ok_or_else(|| Error::Metadata {
                key,
                index: Some(index),
                expected: format!("a string inside {} bytes", raw.len()).into(),
                got: format!("one that begins at byte {at} and leads out of them"),
            })?;
            places.push((at + 8, end as usize));
            at = end as usize;
        }
        Ok(Strings { raw, places })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + '_ {
        self.places.iter().map(|&(start, end)| &self.raw[start..end])
    }
}

/// What a model file says about its tokenizer, unchecked. Absent keys are `None`.
#[derive(Clone, Debug)]
pub struct VocabSource<'a> {
    /// `tokenizer.ggml.model`
    pub model: &'a str,
    /// `tokenizer.ggml.pre`
    pub pre: Option<&'a str>,
    /// `general.name`, by which the Phi-3 models are known.
    pub name: Option<&'a str>,
    /// `tokenizer.ggml.tokens`
    pub tokens: Strings<'a>,
    /// `tokenizer.ggml.token_type`
    pub types: Option<&'a [i64]>,
    /// `tokenizer.ggml.scores`
    pub scores: Option<&'a [f32]>,
    /// `tokenizer.ggml.merges`
    pub merges: Option<Strings<'a>>,
    /// The ids of the roles, in the order of [`ROLES`].
    pub ids: [Option<i64>; ROLES.len()],
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
}

/// That an array has one entry for each token.
pub(super) fn check_length(key: &'static str, got: usize, n_vocab: usize) -> Result<(), Error> {
    if got == n_vocab {
        return Ok(());
    }
    let expected = format!("{n_vocab} entries, one for each token").into();
    Err(Error::Metadata { key, index: None, expected, got: format!("{got}") })
}

/// Bytes from a file as they are shown in a message: the beginning, quoted, what is not printable ASCII escaped.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    for &byte in bytes.iter().take(40) {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7F.. => shown.push_str(&format!("\\x{byte:02x}")),
            _ => shown.push(char::from(byte)),
        }
    }
    shown.push_str(if bytes.len() > 40 { "\"…" } else { "\"" });
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_or_refused() {
        let mut raw = Vec::new();
        for text in [&b"one"[..], b"", b"three"] {
            raw.extend((text.len() as u64).to_le_bytes());
            raw.extend(text);
        }
        let strings = Strings::read("k", &raw, 3).unwrap();
        assert!(strings.len() == 3 && strings.iter().eq([&b"one"[..], b"", b"three"]));
        assert_eq!(Strings::read("k", &raw, 2).unwrap().len(), 2, "what follows is none of its business");
        let refused = |raw: &[u8], n| match Strings::read("k", raw, n) {
            Err(Error::Metadata { index, .. }) => index,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&raw, 4), Some(3), "there is no fourth");
        assert_eq!(refused(&raw, usize::MAX), Some(3));
        for n_byte in 0..raw.len() {
            assert!(refused(&raw[..n_byte], 3).is_some());
        }
        raw[11..19].fill(0xFF);
        assert_eq!(refused(&raw, 3), Some(1), "of 2^64 - 1 bytes");
        assert_eq!(end_of_string(&raw, 11), Some(u64::MAX));
        assert_eq!(end_of_string(&raw, usize::MAX), None);
    }
}
