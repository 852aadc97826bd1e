//! `Digits` and `\p{N}{1,3}`: numbers cut out of the text, one digit or up to three at a time.
//!
//! Source: `Digits` of Hugging Face `tokenizers` with `individual_digits`, and the first step of DeepSeek V3.

use super::scan;
use crate::text::unicode::{NUMBER, class};

/// The first group of at most `n_max` numbers at or after `from`.
pub fn find(text: &str, from: usize, n_max: usize) -> Option<(usize, usize)> {
    let start = from + text[from..].find(|c| class(c) & NUMBER != 0)?;
    Some((start, scan::run_of_up_to(text, start, NUMBER, n_max)))
}
