//! The table of tokens, checked once when it is built.
//!
//! Everything a model file says about its vocabulary is a claim until `Vocab::new` has accepted it. After that every
//! look-up is total: ids are below `n_vocab`, lengths agree, scores are finite, no two tokens have the same text.
//!
//! An empty token text is allowed, since padded vocabularies hold them: such a token can be fed to a model and decodes
//! to nothing, and no text is ever encoded to it.

use super::byte_level;
use super::source::{KEY_TOKENS, KEY_TYPES, VocabSource, check_length, quoted};
use super::table::{Insertion, WordTable};
use crate::error::Error;
use alloc::{borrow::Cow, format, string::String, vec::Vec};

/// U+2581, which stands for a space, in UTF-8.
pub const ESCAPED_SPACE: &[u8] = "\u{2581}".as_bytes();

/// More tokens than any model has; an id then fits 24 bits.
const MAX_TOKENS: usize = 1 << 24;

/// The algorithm that a vocabulary was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `llama`: SentencePiece-BPE, pairs joined by score, spaces written as U+2581, unknown characters as bytes.
    Spm,
    /// `gpt2`: byte-level BPE, pairs joined by rank.
    Bpe,
}

impl Algorithm {
    /// The name, as the file format has it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Spm => "llama",
            Algorithm::Bpe => "gpt2",
        }
    }
}

/// What a token is for; the numbers are those of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A piece of text.
    Normal = 1,
    /// Stands for text that the vocabulary cannot write.
    Unknown = 2,
    /// Speaks to the model and not to the reader; made from text only where the caller asks for it.
    Control = 3,
    /// A fixed text that is always one token.
    UserDefined = 4,
    /// A place that is kept free.
    Unused = 5,
    /// One byte, written `<0x0A>`.
    Byte = 6,
}

impl Kind {
    fn from_file(number: i64) -> Option<Kind> {
        Some(match number {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            0 | 5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return None,
        })
    }

    /// The name, as the Python interface has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Normal => "normal",
            Kind::Unknown => "unknown",
            Kind::Control => "control",
            Kind::UserDefined => "user_defined",
            Kind::Unused => "unused",
            Kind::Byte => "byte",
        }
    }

    /// Whether the token can come from text without being asked for by name.
    pub fn is_text(self) -> bool {
        matches!(self, Kind::Normal | Kind::UserDefined)
    }
}

/// Byte strings one after the other.
#[derive(Debug, Default)]
struct Blob {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Blob {
    fn with_capacity(n: usize, n_bytes: usize) -> Self {
        Blob { bytes: Vec::with_capacity(n_bytes), ends: Vec::with_capacity(n) }
    }

    fn push(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.bytes.extend(bytes);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start..self.ends[id]]
    }
}

/// The checked table of tokens.
#[derive(Debug)]
pub struct Vocab {
    algorithm: Algorithm,
    texts: Blob,
    /// What each token adds to a decoded text.
    pieces: Blob,
    kinds: Vec<Kind>,
    words: WordTable,
}

impl Vocab {
    /// Check the tokens and their kinds.
    pub fn new(source: &VocabSource<'_>) -> Result<Vocab, Error> {
        let algorithm = match source.model {
            "llama" => Algorithm::Spm,
            "gpt2" => Algorithm::Bpe,
            other => {
                return Err(Error::UnsupportedTokenizer {
                    key: "tokenizer.ggml.model",
                    got: quoted(other.as_bytes()),
                    supported: String::from("\"gpt2\", \"llama\""),
                });
            }
        };
        let n = source.tokens.len();
        if n == 0 || n >= MAX_TOKENS {
            let expected = format!("from 1 to {} tokens", MAX_TOKENS - 1).into();
            return Err(Error::Metadata { key: KEY_TOKENS, index: None, expected, got: format!("{n}") });
        }
        let kinds = checked_kinds(source.types, n)?;

        let mut texts = Blob::with_capacity(n, source.tokens.iter().map(<[u8]>::len).sum());
        let mut words = WordTable::with_capacity(n);
        for (index, text) in source.tokens.iter().enumerate() {
            texts.push(text.iter().copied());
            if text.is_empty() {
                continue;
            }
            let crowded = |_| Error::Metadata {
                key: KEY_TOKENS,
                index: Some(index),
                expected: Cow::Borrowed("tokens that a hash spreads out"),
                got: String::from("thousands that fall together"),
            };
            if let Insertion::Present(first) = words.insert(index as u32, |id| texts.get(id)).map_err(crowded)? {
                return Err(Error::Metadata {
                    key: KEY_TOKENS,
                    index: Some(index),
                    expected: Cow::Borrowed("each token once"),
                    got: format!("{} again, after index {first}", quoted(text)),
                });
            }
        }
        let mut vocab = Vocab { algorithm, texts, pieces: Blob::default(), kinds, words };
        vocab.pieces = vocab.decoded_pieces()?;
        Ok(vocab)
    }

    fn decoded_pieces(&self) -> Result<Blob, Error> {
        let mut pieces = Blob::with_capacity(self.n_vocab(), self.texts.bytes.len());
        for id in 0..self.n_vocab() as u32 {
            let text = self.text(id);
            match self.kind(id) {
                Kind::Byte => {
                    let byte = byte_of_text(text).ok_or_else(|| Error::Metadata {
                        key: KEY_TOKENS,
                        index: Some(id as usize),
                        expected: Cow::Borrowed("a byte token such as \"<0x0A>\""),
                        got: quoted(text),
                    })?;
                    pieces.push([byte]);
                }
                Kind::Normal if self.algorithm == Algorithm::Spm => pieces.push(unescaped(text)),
                Kind::Normal => pieces.push(byte_decoded(text).unwrap_or_else(|| text.to_vec())),
                _ => pieces.push(text.iter().copied()),
            }
        }
        Ok(pieces)
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.kinds.len()
    }

    /// The algorithm that the vocabulary was made for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `id` as an index, or the error that names it.
    pub fn checked_id(&self, id: i64) -> Result<u32, Error> {
        let n_vocab = self.n_vocab();
        if id >= 0 && (id as u64) < n_vocab as u64 { Ok(id as u32) } else { Err(Error::TokenId { id, n_vocab }) }
    }

    /// The text of a token as the file writes it; panics if there is no such token, as do the next two.
    pub fn text(&self, id: u32) -> &[u8] {
        self.texts.get(id)
    }

    /// The bytes that a token stands for.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id)
    }

    /// What a token is for.
    pub fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    pub(super) fn set_kind(&mut self, id: u32, kind: Kind) {
        self.kinds[id as usize] = kind;
    }

    /// The token of any kind with this text, as the file writes it.
    pub fn find(&self, text: impl Iterator<Item = u8> + Clone) -> Option<u32> {
        self.words.find(text, |id| self.text(id))
    }
}

fn checked_kinds(types: Option<&[i64]>, n: usize) -> Result<Vec<Kind>, Error> {
    let Some(types) = types else {
        return Ok(alloc::vec![Kind::Normal; n]);
    };
    check_length(KEY_TYPES, types.len(), n)?;
    let kind_of = |(index, &number): (usize, &i64)| {
        Kind::from_file(number).ok_or_else(|| Error::Metadata {
            key: KEY_TYPES,
            index: Some(index),
            expected: Cow::Borrowed("a token type from 0 to 6"),
            got: format!("{number}"),
        })
    };
    types.iter().enumerate().map(kind_of).collect()
}

/// The byte that `<0x0A>` names.
fn byte_of_text(text: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', high, low, b'>'] = text else {
        return None;
    };
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// `text` with each U+2581 made a space again.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(ESCAPED_SPACE) {
            bytes.push(b' ');
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

/// The bytes that `text` writes in the byte-level alphabet, if it is written in it throughout.
fn byte_decoded(text: &[u8]) -> Option<Vec<u8>> {
    core::str::from_utf8(text).ok()?.chars().map(byte_level::byte_of).collect()
}
