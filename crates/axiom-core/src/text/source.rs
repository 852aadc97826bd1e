//! What a model file says about its tokenizer, unchecked: `Vocab::new` and the algorithms accept it or say what is wrong.

use crate::error::Error;
use alloc::{format, string::String};

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

/// An array of byte strings inside one buffer, as a model file holds them.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    raw: &'a [u8],
    starts: &'a [i64],
    lengths: &'a [i64],
}

impl<'a> Strings<'a> {
    /// Check that every string lies inside `raw`; string `i` is `lengths[i]` bytes from `starts[i]`.
    pub fn new(key: &'static str, raw: &'a [u8], starts: &'a [i64], lengths: &'a [i64]) -> Result<Self, Error> {
        if starts.len() != lengths.len() {
            let expected = format!("as many lengths as starts, {}", starts.len());
            return Err(Error::Metadata {
                key,
                index: None,
                expected: expected.into(),
                got: format!("{}", lengths.len()),
            });
        }
        for (index, (&start, &length)) in starts.iter().zip(lengths).enumerate() {
            let inside =
                start >= 0 && length >= 0 && start.checked_add(length).is_some_and(|end| end <= raw.len() as i64);
            if !inside {
                return Err(Error::Metadata {
                    key,
                    index: Some(index),
                    expected: format!("a string inside {} bytes", raw.len()).into(),
                    got: format!("{length} bytes from {start}"),
                });
            }
        }
        Ok(Strings { raw, starts, lengths })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// String `index`; panics if there is none.
    pub fn get(&self, index: usize) -> &'a [u8] {
        let start = self.starts[index] as usize;
        &self.raw[start..start + self.lengths[index] as usize]
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// What a model file says about its tokenizer, unchecked. Absent keys are `None`.
#[derive(Clone, Copy, Debug)]
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
