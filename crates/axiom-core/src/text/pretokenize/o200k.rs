//! o200k (GPT-4o, gpt-oss, Llama 4), and with other numbers Tekken (Mistral NeMo and later). With
//! `X = [^\r\n\p{L}\p{N}]`, `U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`, `D = [\p{Ll}\p{Lm}\p{Lo}\p{M}]` and
//! `C = (?i:'s|'t|'re|'ve|'m|'ll|'d)`:
//!
//! `X?U*D+C?|X?U+D*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
//!
//! Source: tokenizer.json of gpt-oss-20b. Tekken, source tokenizer.json of Mistral-Nemo-Base-2407, has no `C` and has
//! `\p{N}` for `\p{N}{1,3}`. The classes are the originals: an approximation by `[^a-z]` and `[^A-Z]`, which some
//! engines use, cuts words with accents, marks and modifier letters elsewhere.

use super::scan;
use crate::text::unicode::{LETTER, LOWER, MARK, MODIFIER, NUMBER, SPACE, TITLE, UNCASED, UPPER, class};

const BOTH: u16 = MODIFIER | UNCASED | MARK;
const U: u16 = UPPER | TITLE | BOTH;
const D: u16 = LOWER | BOTH;

/// The piece that begins at `at`; every character belongs to one.
pub fn find(text: &str, at: usize, contractions: bool, n_digits_max: usize) -> Option<(usize, usize)> {
    let (first, after) = scan::next(text, at)?;
    let bits = class(first);
    // `X?` takes the first character where it can, and gives it back where the branch fails with it.
    let leads = bits & (LETTER | NUMBER) == 0 && first != '\r' && first != '\n';
    let word = leads.then(|| ends_low(text, after)).flatten().or_else(|| ends_low(text, at));
    let word = word.or_else(|| leads.then(|| ends_high(text, after)).flatten()).or_else(|| ends_high(text, at));
    if let Some(end) = word {
        let suffix = if contractions { scan::contraction(text, end, true) } else { None };
        return Some((at, suffix.unwrap_or(end)));
    }
    if bits & NUMBER != 0 {
        return Some((at, scan::run_of_up_to(text, at, NUMBER, n_digits_max)));
    }
    let body = if first == ' ' { after } else { at };
    let end = scan::run_outside(text, body, SPACE | LETTER | NUMBER);
    if end > body {
        return Some((at, scan::run(text, end, |c| matches!(c, '\r' | '\n' | '/'))));
    }
    Some((at, scan::line_breaks(text, at).unwrap_or_else(|| scan::white_space(text, at))))
}

/// `U*D+`. Where no `D` follows the run of `U`, the expression gives back characters until one of them is a `D` too;
/// what it gave back beyond that one is upper or title case, so `D+` is that single character.
fn ends_low(text: &str, at: usize) -> Option<usize> {
    let upper_end = scan::run_of(text, at, U);
    let end = scan::run_of(text, upper_end, D);
    if end > upper_end {
        return Some(end);
    }
    let upper = &text[at..upper_end];
    upper.char_indices().rfind(|&(_, c)| class(c) & BOTH != 0).map(|(offset, c)| at + offset + c.len_utf8())
}

/// `U+D*`.
fn ends_high(text: &str, at: usize) -> Option<usize> {
    let upper_end = scan::run_of(text, at, U);
    (upper_end > at).then(|| scan::run_of(text, upper_end, D))
}
