//! What a story needs of a model's metadata: its tokenizer, and how long its texts may be.

use axiom_core::error::Error;
use axiom_core::text::source::{KEY_MERGES, KEY_SCORES, KEY_TOKENS, KEY_TYPES, ROLES, Strings};
use axiom_core::text::{Tokenizer, VocabSource};
use bare::metadata::Metadata;

/// The tokenizer.
///
/// # Errors
///
/// What is missing or wrong in the metadata.
pub fn tokenizer(metadata: Metadata<'_>) -> Result<Tokenizer, Error> {
    let missing = |key| Error::Metadata { key, index: None, expected: "a value".into(), got: "none".into() };
    let strings = |key| metadata.strings(key).map(|(raw, n)| Strings::read(key, raw, n)).transpose();
    let (types, scores) = (metadata.integers(KEY_TYPES), metadata.reals(KEY_SCORES));
    Tokenizer::new(&VocabSource {
        model: metadata.text("tokenizer.ggml.model").ok_or(missing("tokenizer.ggml.model"))?,
        pre: metadata.text("tokenizer.ggml.pre"),
        name: metadata.text("general.name"),
        tokens: strings(KEY_TOKENS)?.ok_or(missing(KEY_TOKENS))?,
        types: types.as_deref(),
        scores: scores.as_deref(),
        merges: strings(KEY_MERGES)?,
        ids: ROLES.map(|key| metadata.integer(key)),
        add_bos: metadata.flag("tokenizer.ggml.add_bos_token"),
        add_eos: metadata.flag("tokenizer.ggml.add_eos_token"),
        add_space_prefix: metadata.flag("tokenizer.ggml.add_space_prefix"),
    })
}

/// Positions that the model was trained for.
pub fn context_length(metadata: Metadata<'_>) -> usize {
    let architecture = metadata.text("general.architecture").unwrap_or_default();
    let key = alloc::format!("{architecture}.context_length");
    metadata.integer(&key).and_then(|n| usize::try_from(n).ok()).unwrap_or(512)
}
