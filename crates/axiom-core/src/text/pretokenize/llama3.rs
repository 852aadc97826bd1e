//! Llama 3, and with other numbers Qwen 2 and its descendants:
//!
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
//!
//! Source: tokenizer.json of Meta-Llama-3-8B. Qwen 2 has `\p{N}` for `\p{N}{1,3}`; Qwen 3.5 moreover has `[\p{L}\p{M}]`
//! for the second `\p{L}` of the letters' branch and adds `\p{M}` to the classes that the fourth branch leaves out.

use super::scan;
use crate::text::unicode::{NUMBER, SPACE, class};

/// The piece that begins at `at`; every character belongs to one. `word` is `LETTER`, or `LETTER | MARK` for Qwen 3.5.
pub fn find(text: &str, at: usize, word: u16, n_digits_max: usize) -> Option<(usize, usize)> {
    let (first, after) = scan::next(text, at)?;
    if let Some(end) = scan::contraction(text, at, true) {
        return Some((at, end));
    }
    if class(first) & word != 0 {
        return Some((at, scan::run_of(text, after, word)));
    }
    if class(first) & NUMBER != 0 {
        return Some((at, scan::run_of_up_to(text, at, NUMBER, n_digits_max)));
    }
    // What is left is neither letter nor number, so unless it breaks the line it may lead a word.
    let second = scan::next(text, after).map_or(0, |(c, _)| class(c));
    if second & word != 0 && first != '\r' && first != '\n' {
        return Some((at, scan::run_of(text, after, word)));
    }
    let body = if first == ' ' { after } else { at };
    let end = scan::run_outside(text, body, SPACE | NUMBER | word);
    if end > body {
        return Some((at, scan::run(text, end, |c| c == '\r' || c == '\n')));
    }
    Some((at, scan::line_breaks(text, at).unwrap_or_else(|| scan::white_space(text, at))))
}
