//! The DeepSeek vocabularies, each a sequence of expressions of which every one cuts what the one before left whole:
//!
//! - LLM: `[\r\n]`, `\s?[A-Za-zµÀ-Ö…]+`, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, `[一-龥ࠀ-一가-퟿]+`, single digits.
//! - Coder: `[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, single digits.
//! - V3 and R1: `\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, and the expression at `v3` below.
//!
//! Source: tokenizer.json of deepseek-llm-7b-base, deepseek-coder-6.7b-base and DeepSeek-V3.

use super::scan;
use crate::text::unicode::{LETTER, MARK, PUNCTUATION, SPACE, SYMBOL, class};

/// `[\r\n]`
pub fn line_break(text: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + text[from..].find(['\r', '\n'])?;
    Some((start, start + 1))
}

/// `\s?[A-Za-zµÀ-Ö…]+`
pub fn llm_letters(text: &str, from: usize) -> Option<(usize, usize)> {
    spaced_run(text, from, is_llm_letter)
}

/// `\s?[!-/:-~！-／：-～‘-‟　-。]+`
pub fn llm_punctuation(text: &str, from: usize) -> Option<(usize, usize)> {
    spaced_run(
        text,
        from,
        |c| matches!(c, '!'..='/' | ':'..='~' | '！'..='／' | '：'..='～' | '\u{2018}'..='\u{201F}' | '\u{3000}'..='\u{3002}'),
    )
}

/// `\s+$`: white space at the end.
pub fn trailing_space(text: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + text[from..].trim_end_matches(|c| class(c) & SPACE != 0).len();
    (start < text.len()).then_some((start, text.len()))
}

/// `[一-龥ࠀ-一가-퟿]+`
pub fn llm_east_asian(text: &str, from: usize) -> Option<(usize, usize)> {
    plain_run(text, from, |c| matches!(c, '\u{800}'..='\u{9FA5}' | '\u{AC00}'..='\u{D7FF}'))
}

/// `\s?\p{L}+`
pub fn coder_letters(text: &str, from: usize) -> Option<(usize, usize)> {
    spaced_run(text, from, |c| class(c) & LETTER != 0)
}

/// `\s?\p{P}+`
pub fn coder_punctuation(text: &str, from: usize) -> Option<(usize, usize)> {
    spaced_run(text, from, |c| class(c) & PUNCTUATION != 0)
}

/// `[一-龥぀-ゟ゠-ヿ]+`
pub fn v3_east_asian(text: &str, from: usize) -> Option<(usize, usize)> {
    plain_run(text, from, |c| matches!(c, '\u{4E00}'..='\u{9FA5}' | '\u{3040}'..='\u{30FF}'))
}

/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``
pub fn v3(text: &str, from: usize) -> Option<(usize, usize)> {
    // Numbers and control characters that lead no word belong to no branch, and are passed over.
    text[from..].char_indices().find_map(|(offset, c)| {
        let at = from + offset;
        Some((at, v3_at(text, at, c)?))
    })
}

fn v3_at(text: &str, at: usize, first: char) -> Option<usize> {
    const WORD: u16 = LETTER | MARK;
    const SIGN: u16 = PUNCTUATION | SYMBOL;
    let after = at + first.len_utf8();
    let bits = class(first);
    let second = text[after..].chars().next();
    if first.is_ascii_punctuation() && second.is_some_and(|c| c.is_ascii_alphabetic()) {
        return Some(scan::run(text, after, |c| c.is_ascii_alphabetic()));
    }
    let leads = bits & (LETTER | SIGN) == 0 && first != '\r' && first != '\n';
    if bits & WORD != 0 || leads && second.is_some_and(|c| class(c) & WORD != 0) {
        return Some(scan::run_of(text, after, WORD));
    }
    let body = if first == ' ' { after } else { at };
    let end = scan::run_of(text, body, SIGN);
    if end > body {
        return Some(scan::run(text, end, |c| c == '\r' || c == '\n'));
    }
    if bits & SPACE == 0 {
        return None;
    }
    Some(scan::line_breaks(text, at).unwrap_or_else(|| scan::white_space(text, at)))
}

/// The first run of `wanted` characters at or after `from`.
fn plain_run(text: &str, from: usize, wanted: impl Fn(char) -> bool) -> Option<(usize, usize)> {
    let start = from + text[from..].find(&wanted)?;
    Some((start, scan::run(text, start, wanted)))
}

/// The same with one white-space character before it, if there is one at or after `from`.
fn spaced_run(text: &str, from: usize, wanted: impl Fn(char) -> bool) -> Option<(usize, usize)> {
    let (mut start, end) = plain_run(text, from, wanted)?;
    if let Some(before) = text[from..start].chars().next_back()
        && class(before) & SPACE != 0
    {
        start -= before.len_utf8();
    }
    Some((start, end))
}

fn is_llm_letter(c: char) -> bool {
    let cp = c as u32;
    let after = LLM_LETTERS.partition_point(|&(first, _)| first <= cp);
    after > 0 && cp <= LLM_LETTERS[after - 1].1
}

/// The letters that the expression lists: cased letters as of Unicode 11, one range after the other.
#[rustfmt::skip]
static LLM_LETTERS: [(u32, u32); 87] = [
    (0x41, 0x5A), (0x61, 0x7A), (0xB5, 0xB5), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x1BA), (0x1BC, 0x1BF),
    (0x1C4, 0x293), (0x295, 0x2AF), (0x370, 0x373), (0x376, 0x376), (0x377, 0x377), (0x37B, 0x37D),
    (0x37F, 0x37F), (0x386, 0x386), (0x388, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x3F5),
    (0x3F7, 0x481), (0x48A, 0x52F), (0x531, 0x556), (0x10A0, 0x10C5), (0x13A0, 0x13F5), (0x13F8, 0x13FD),
    (0x1C90, 0x1CBA), (0x1CBD, 0x1CBF), (0x1D00, 0x1D2B), (0x1D6B, 0x1D77), (0x1D79, 0x1D9A), (0x1E00, 0x1F15),
    (0x1F18, 0x1F1D), (0x1F20, 0x1F45), (0x1F48, 0x1F4D), (0x1F50, 0x1F57), (0x1F59, 0x1F59), (0x1F5B, 0x1F5B),
    (0x1F5D, 0x1F5D), (0x1F5F, 0x1F7D), (0x1F80, 0x1FB4), (0x1FB6, 0x1FBC), (0x1FBE, 0x1FBE), (0x1FC2, 0x1FC4),
    (0x1FC6, 0x1FCC), (0x1FD0, 0x1FD3), (0x1FD6, 0x1FDB), (0x1FE0, 0x1FEC), (0x1FF2, 0x1FF4), (0x1FF6, 0x1FFC),
    (0x2102, 0x2102), (0x2107, 0x2107), (0x210A, 0x2113), (0x2115, 0x2115), (0x2119, 0x211D), (0x2124, 0x2124),
    (0x2126, 0x2126), (0x2128, 0x2128), (0x212A, 0x212D), (0x212F, 0x2134), (0x2139, 0x2139), (0x213C, 0x213F),
    (0x2145, 0x2149), (0x214E, 0x214E), (0x2183, 0x2183), (0x2184, 0x2184), (0x2C00, 0x2C7B), (0x2C7E, 0x2CE4),
    (0x2CEB, 0x2CEE), (0x2CF2, 0x2CF2), (0x2CF3, 0x2CF3), (0xA640, 0xA66D), (0xA680, 0xA69B), (0xA722, 0xA76F),
    (0xA771, 0xA787), (0xA78B, 0xA78E), (0xAB70, 0xABBF), (0xFB00, 0xFB06), (0xFB13, 0xFB17), (0xFF21, 0xFF3A),
    (0xFF41, 0xFF5A), (0x10400, 0x1044F), (0x104B0, 0x104D3), (0x104D8, 0x104FB), (0x10C80, 0x10CB2),
    (0x10CC0, 0x10CF2), (0x118A0, 0x118DF), (0x1E900, 0x1E943),
];
