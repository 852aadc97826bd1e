//! Tokens with a role: which they are, which of them end a generation, and how they are cut out of a text.
//!
//! Model files name some roles by id and leave others to be known by their text, so the texts in use are listed here;
//! the lists are those that llama.cpp recognises (`llama-vocab.cpp`), so that a model ends its turn in both alike. A token
//! in such a list counts as a control token, whatever the file calls it, unless merges make it of ordinary letters.

use super::source::{ROLES, VocabSource};
use super::unicode::{SPACE, class};
use super::vocab::{Algorithm, Kind, Vocab};
use crate::error::Error;
use alloc::{format, vec::Vec};

// Where the texts of a role are several, the first that the vocabulary has is taken.
const EOT_TEXTS: [&str; 11] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
const EOM_TEXTS: [&str; 1] = ["<|eom_id|>"];
const FIM_PAD_TEXTS: [&str; 5] = ["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REP_TEXTS: [&str; 5] = ["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FIM_SEP_TEXTS: [&str; 1] = ["<|file_sep|>"];
/// All that end a generation by their text.
const END_TEXTS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// The ids of the roles; `None` where the vocabulary has no such token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialIds {
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn.
    pub eot: Option<u32>,
    /// Ends a message inside a turn.
    pub eom: Option<u32>,
    /// Stands for what the vocabulary cannot write.
    pub unk: Option<u32>,
    /// Separates two texts.
    pub sep: Option<u32>,
    /// Fills a batch.
    pub pad: Option<u32>,
    /// All that end a generation, ascending.
    pub eog: Vec<u32>,
}

impl SpecialIds {
    /// Check the ids of the file, find the others by text, and make control tokens of those that are found.
    pub fn new(vocab: &mut Vocab, source: &VocabSource<'_>) -> Result<SpecialIds, Error> {
        let mut ids = [None; ROLES.len()];
        for (role, key) in ROLES.iter().enumerate() {
            ids[role] = checked(source.ids[role], key, vocab.n_vocab())?;
        }
        let [mut bos, mut eos, mut eot, mut eom, mut unk, sep, pad, mut fim_pad, mut fim_rep, mut fim_sep] = ids;
        if vocab.algorithm() == Algorithm::Spm {
            // SentencePiece's own defaults, where the file says nothing and the vocabulary is large enough.
            let default = |role: usize, id: u32| match source.ids[role] {
                None => Some(id).filter(|&id| (id as usize) < vocab.n_vocab()),
                Some(_) => ids[role],
            };
            (bos, eos, unk) = (default(0, 1), default(1, 2), default(4, 0));
        }
        let mut eog: Vec<u32> = Vec::new();
        let roles: [(&mut Option<u32>, &[&str]); 5] = [
            (&mut eot, &EOT_TEXTS),
            (&mut eom, &EOM_TEXTS),
            (&mut fim_pad, &FIM_PAD_TEXTS),
            (&mut fim_rep, &FIM_REP_TEXTS),
            (&mut fim_sep, &FIM_SEP_TEXTS),
        ];
        for (id, texts) in roles {
            if id.is_none() {
                *id = texts.iter().find_map(|text| named(vocab, source, text));
                if let Some(id) = *id {
                    vocab.set_kind(id, Kind::Control);
                }
            }
            eog.extend(*id);
        }
        for id in END_TEXTS.iter().filter_map(|text| named(vocab, source, text)).collect::<Vec<u32>>() {
            vocab.set_kind(id, Kind::Control);
            eog.push(id);
        }
        eog.extend(eos);
        eog.sort_unstable();
        eog.dedup();
        let mut ids = SpecialIds { bos, eos, eot, eom, unk, sep, pad, eog };
        ids.take_back_end(vocab);
        Ok(ids)
    }

    /// In Harmony and Solar, known by other tokens of theirs, `<|end|>` ends a channel and the turn goes on.
    fn take_back_end(&mut self, vocab: &mut Vocab) {
        let find = |text: &str| vocab.find(text.bytes()).filter(|id| self.eog.contains(id));
        let any = |texts: [&str; 2]| texts.iter().any(|text| find(text).is_some());
        if any(["<|call|>", "<|calls|>"])
            && any(["<|return|>", "<|flush|>"])
            && let Some(end) = find("<|end|>")
        {
            vocab.set_kind(end, Kind::UserDefined);
            self.eog.retain(|&id| id != end);
        }
    }
}

/// The token of this text, unless it is an ordinary word.
///
/// Some vocabularies have `</s>` as a piece of HTML: a normal token that merges make of its letters. Such a token has no
/// role, whatever its text; without this a model would end its turn where it strikes something out.
fn named(vocab: &Vocab, source: &VocabSource<'_>, text: &str) -> Option<u32> {
    let id = vocab.find(text.bytes())?;
    let makes_it = |merge: &[u8]| merge.iter().filter(|&&byte| byte != b' ').eq(text.as_bytes());
    let merges = source.merges.as_ref().filter(|_| vocab.kind(id) == Kind::Normal);
    let is_word = merges.is_some_and(|merges| merges.iter().any(makes_it));
    (!is_word).then_some(id)
}

/// An id of the file; -1, in either width, says that there is no such token.
fn checked(id: Option<i64>, key: &'static str, n_vocab: usize) -> Result<Option<u32>, Error> {
    match id {
        None | Some(-1 | 0xFFFF_FFFF) => Ok(None),
        Some(id) if id >= 0 && (id as u64) < n_vocab as u64 => Ok(Some(id as u32)),
        Some(id) => {
            let expected = format!("an id from 0 to {}, or -1 for none", n_vocab - 1).into();
            Err(Error::Metadata { key, index: None, expected, got: format!("{id}") })
        }
    }
}

/// Bytes that both begin with.
fn n_shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A stretch of a text that is one special token, or has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Text to be encoded.
    Text(&'a str),
    /// A special token.
    Token(u32),
}

/// Finds special tokens in a text: at each place the longest, from left to right.
#[derive(Debug)]
pub struct Matcher {
    /// Special tokens in the order of their texts, so that those with a common beginning stand together.
    sorted: Vec<u32>,
    /// Whether some special token begins with the byte.
    begins: [bool; 256],
    /// Tokens that swallow the white space on their right, ascending.
    strip_right: Vec<u32>,
}

impl Matcher {
    /// Collect the special tokens of the vocabulary. `name` is the name of the model.
    pub fn new(vocab: &Vocab, name: Option<&str>) -> Matcher {
        // A token that is no text stands in none: what is cut out of a text begins and ends between characters.
        let is_text = |text: &[u8]| !text.is_empty() && core::str::from_utf8(text).is_ok();
        let special = |&id: &u32| {
            matches!(vocab.kind(id), Kind::Control | Kind::UserDefined | Kind::Unknown) && is_text(vocab.text(id))
        };
        let mut sorted: Vec<u32> = (0..vocab.n_vocab() as u32).filter(special).collect();
        let mut begins = [false; 256];
        for &id in &sorted {
            begins[usize::from(vocab.text(id)[0])] = true;
        }
        // Model files do not say which tokens swallow white space. The Phi-3 models are known to have such.
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let keeps = |id: u32| matches!(vocab.text(id), b"<unk>" | b"<s>" | b"<|endoftext|>");
        let strip_right = match name.contains("phi-3") || name.contains("phi3") {
            true => sorted.iter().copied().filter(|&id| !keeps(id)).collect(),
            false => Vec::new(),
        };
        sorted.sort_unstable_by_key(|&id| vocab.text(id));
        Matcher { sorted, begins, strip_right }
    }

    /// The parts of `text` in order. Control and unknown tokens count only if `parse_special`.
    pub fn parts<'a>(
        &'a self,
        vocab: &'a Vocab,
        text: &'a str,
        parse_special: bool,
    ) -> impl Iterator<Item = Part<'a>> + 'a {
        let mut at = 0;
        let mut found: Option<(usize, u32)> = None;
        core::iter::from_fn(move || {
            if let Some((end, id)) = found.take() {
                at = end;
                return Some(Part::Token(id));
            }
            if at == text.len() {
                return None;
            }
            let start = at;
            found = self.next(vocab, text, at, parse_special).map(|(token_start, mut end, id)| {
                at = token_start;
                if self.strip_right.binary_search(&id).is_ok() {
                    let rest = &text[end..];
                    end = text.len() - rest.trim_start_matches(|c| class(c) & SPACE != 0).len();
                }
                (end, id)
            });
            match found {
                None => at = text.len(),
                Some((end, id)) if at == start => {
                    found = None;
                    at = end;
                    return Some(Part::Token(id));
                }
                Some(_) => {}
            }
            Some(Part::Text(&text[start..at]))
        })
    }

    /// The first special token at or after `from`: where it starts, where it ends, and which it is.
    fn next(&self, vocab: &Vocab, text: &str, from: usize, parse_special: bool) -> Option<(usize, usize, u32)> {
        let bytes = text.as_bytes();
        (from..bytes.len()).filter(|&at| self.begins[usize::from(bytes[at])]).find_map(|at| {
            let id = self.longest_at(vocab, &bytes[at..], parse_special)?;
            Some((at, at + vocab.text(id).len(), id))
        })
    }

    /// The longest special token that `bytes` begins with.
    fn longest_at(&self, vocab: &Vocab, bytes: &[u8], parse_special: bool) -> Option<u32> {
        let wanted = |&id: &u32| parse_special || vocab.kind(id) == Kind::UserDefined;
        let mut candidates = self.sorted.as_slice();
        let mut longest = None;
        let mut n = 0;
        // All candidates begin with `bytes[..n]`, and stand in order, the shortest first: what the first and the last share
        // they all share, and it is compared at once.
        while let (Some(&first), Some(&last)) = (candidates.first(), candidates.last()) {
            let (text, other) = (vocab.text(first), vocab.text(last));
            let shared = if first == last { text.len() } else { n + n_shared(&text[n..], &other[n..]) };
            if bytes.get(n..shared) != Some(&text[n..shared]) {
                break;
            }
            n = shared;
            if text.len() == n {
                longest = Some(first).filter(wanted).or(longest);
            }
            let Some(byte) = bytes.get(n) else {
                break;
            };
            let low = candidates.partition_point(|&id| vocab.text(id).get(n) < Some(byte));
            let high = candidates.partition_point(|&id| vocab.text(id).get(n) <= Some(byte));
            candidates = &candidates[low..high];
        }
        longest
    }
}
