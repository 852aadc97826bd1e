//! The tokenizer of one model: the parts put together.

use super::bpe::Bpe;
use super::decode::TextDecoder;
use super::merge::Merger;
use super::pretokenize::{self, PreTokenizer};
use super::source::VocabSource;
use super::special::{Matcher, Part, SpecialIds};
use super::spm::Spm;
use super::vocab::{Algorithm, ESCAPED_SPACE, Vocab};
use crate::error::Error;
use alloc::{borrow::Cow, string::String, vec::Vec};

/// The longest text of one call: positions are counted in 32 bits, and escaping makes three bytes of one space.
pub const TEXT_BYTES_MAX: usize = (u32::MAX / 4) as usize;

/// Encodes texts and decodes tokens by the vocabulary of one model.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    method: Method,
    ids: SpecialIds,
    matcher: Matcher,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
}

#[derive(Debug)]
enum Method {
    Spm(Spm),
    Bpe(Bpe, &'static PreTokenizer),
}

impl Tokenizer {
    /// Check what a model file says, and build the tables.
    pub fn new(source: &VocabSource<'_>) -> Result<Tokenizer, Error> {
        let mut vocab = Vocab::new(source)?;
        let ids = SpecialIds::new(&mut vocab, source)?;
        let matcher = Matcher::new(&vocab, source.name);
        let (method, bos_by_default) = match vocab.algorithm() {
            Algorithm::Spm => (Method::Spm(Spm::new(&vocab, source.scores, ids.unk)?), true),
            Algorithm::Bpe => {
                let pre = pretokenize::by_name(source.pre)?;
                let bpe = Bpe::new(&vocab, source.merges.as_ref(), pre.ignore_merges)?;
                (Method::Bpe(bpe, pre), pre.add_bos)
            }
        };
        let asks = |flag: Option<bool>, id: Option<u32>, key, id_key: &'static str| match (flag, id) {
            (Some(true), None) => Err(Error::Metadata {
                key,
                index: None,
                expected: Cow::Owned(alloc::format!("false, since there is no {id_key}")),
                got: String::from("true"),
            }),
            (flag, id) => Ok((flag, id.is_some())),
        };
        let (add_bos, has_bos) =
            asks(source.add_bos, ids.bos, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id")?;
        let (add_eos, _) =
            asks(source.add_eos, ids.eos, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id")?;
        Ok(Tokenizer {
            add_bos: add_bos.unwrap_or(bos_by_default && has_bos),
            add_eos: add_eos.unwrap_or(false),
            add_space_prefix: source.add_space_prefix.unwrap_or(true) && vocab.algorithm() == Algorithm::Spm,
            vocab,
            method,
            ids,
            matcher,
        })
    }

    /// The table of tokens.
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The tokens with a role.
    pub fn ids(&self) -> &SpecialIds {
        &self.ids
    }

    /// Name of the pre-tokenizer; `None` for vocabularies that have no such step.
    pub fn pre(&self) -> Option<&'static str> {
        match &self.method {
            Method::Spm(_) => None,
            Method::Bpe(_, pre) => Some(pre.name()),
        }
    }

    /// Whether `encode` puts the begin-of-text token first when asked for special tokens.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether `encode` puts the end-of-text token last when asked for special tokens.
    pub fn add_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether a text is encoded with a space before it.
    pub fn add_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// The tokens of `text`.
    ///
    /// `add_special` adds the begin- and end-of-text tokens that the model asks for. `parse_special` makes tokens of the
    /// texts of control tokens; without it no text becomes one. `at_start` says that a text begins here, before which
    /// SentencePiece puts a space.
    pub fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        mut at_start: bool,
    ) -> Result<Vec<u32>, Error> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::TextTooLong { n_bytes: text.len(), n_bytes_max: TEXT_BYTES_MAX });
        }
        let mut out = Vec::new();
        if add_special && self.add_bos {
            out.extend(self.ids.bos);
        }
        let mut merger = Merger::default();
        let mut words = Vec::new();
        let mut escaped = String::new();
        for part in self.matcher.parts(&self.vocab, text, parse_special) {
            match (part, &self.method) {
                (Part::Token(id), _) => {
                    out.push(id);
                    // The models were trained with a space after each special token too.
                    at_start = true;
                }
                (Part::Text(text), Method::Spm(spm)) => {
                    escape(text, self.add_space_prefix && at_start, &mut escaped);
                    spm.encode(&self.vocab, &escaped, &mut merger, &mut out)?;
                    at_start = false;
                }
                (Part::Text(text), Method::Bpe(bpe, pre)) => {
                    pretokenize::split(pre, text, &mut words);
                    for &(start, end) in &words {
                        bpe.encode(&self.vocab, &text.as_bytes()[start..end], &mut merger, &mut out);
                    }
                }
            }
        }
        if add_special && self.add_eos {
            out.extend(self.ids.eos);
        }
        Ok(out)
    }

    /// A decoder for tokens that come one at a time.
    ///
    /// `at_start` says that they begin a text, so that the space that `encode` put there is taken away again; `special`
    /// shows control tokens by their text.
    pub fn decoder(&self, at_start: bool, special: bool) -> TextDecoder {
        TextDecoder::new(at_start && self.add_space_prefix, special)
    }

    /// The text of tokens, all of which must be in the vocabulary.
    pub fn decode(&self, ids: &[u32], at_start: bool, special: bool) -> String {
        let mut text = String::new();
        let mut decoder = self.decoder(at_start, special);
        for &id in ids {
            decoder.push(&self.vocab, id, &mut |c| text.push(c));
        }
        decoder.finish(&mut |c| text.push(c));
        text
    }
}

/// `text` as SentencePiece vocabularies write it, into `escaped`.
fn escape(text: &str, prefix: bool, escaped: &mut String) {
    escaped.clear();
    if prefix {
        escaped.push('\u{2581}');
    }
    for c in text.chars() {
        escaped.push(if c == ' ' { '\u{2581}' } else { c });
    }
    debug_assert_eq!("\u{2581}".as_bytes(), ESCAPED_SPACE);
}
