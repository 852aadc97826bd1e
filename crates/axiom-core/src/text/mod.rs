//! Text to tokens and back.
//!
//! `Tokenizer` is the whole of it for callers. A text goes through the parts in this order:
//!
//! 1. `special` cuts out the special tokens;
//! 2. `pretokenize` cuts what is left into words (byte-level vocabularies only);
//! 3. `bpe` or `spm` joins the characters of each word into tokens, both by the one loop in `merge`;
//! 4. `decode` goes the other way, token by token, and never emits a broken character.
//!
//! `source` is what a file claims, `vocab` the checked table of tokens that all of them read, `unicode` the character classes of one pinned Unicode
//! version. Nothing here recurses, and no step takes more than O(n log n) in the length of the text.

pub mod bpe;
pub mod byte_level;
pub mod decode;
mod merge;
pub mod pretokenize;
pub mod source;
pub mod special;
pub mod spm;
mod table;
mod tokenizer;
pub mod unicode;
mod unicode_tables;
pub mod vocab;

pub use decode::{TextDecoder, Utf8Decoder};
pub use source::{Strings, VocabSource};
pub use tokenizer::Tokenizer;
pub use unicode_tables::UNICODE_VERSION;
pub use vocab::{Kind, Vocab};
