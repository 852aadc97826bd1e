//! GPT-2:
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
//!
//! Source: `ByteLevel` of Hugging Face `tokenizers` with `use_regex`, after encoder.py of GPT-2.

use super::scan;
use crate::text::unicode::{LETTER, NUMBER, SPACE, class};

/// The piece that begins at `at`; every character belongs to one.
pub fn find(text: &str, at: usize) -> Option<(usize, usize)> {
    let (first, _) = scan::next(text, at)?;
    if let Some(end) = scan::contraction(text, at, false) {
        return Some((at, end));
    }
    let body = if first == ' ' { at + 1 } else { at };
    let end = match scan::next(text, body) {
        Some((c, _)) if class(c) & LETTER != 0 => scan::run_of(text, body, LETTER),
        Some((c, _)) if class(c) & NUMBER != 0 => scan::run_of(text, body, NUMBER),
        Some((c, _)) if class(c) & SPACE == 0 => scan::run_outside(text, body, SPACE | LETTER | NUMBER),
        _ => scan::white_space(text, at),
    };
    Some((at, end))
}
