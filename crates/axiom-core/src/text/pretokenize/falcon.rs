//! Falcon: runs of punctuation, then the expression of GPT-2, then numbers, then groups of three ASCII digits.
//!
//! Source: tokenizer.json of falcon-7b: `Punctuation` (contiguous), `ByteLevel`, `Digits` (contiguous), `[0-9][0-9][0-9]`.
//! The last two come after `ByteLevel`, so they see one character for each *byte* of the text, and six bytes beyond
//! ASCII are written as characters that count as numbers: the Cyrillic м, D0 BC, is cut before its BC, which is written ¼.

use super::scan;
use crate::text::unicode::{PUNCTUATION, class};

/// The first run of punctuation at or after `from`; all signs of ASCII count.
pub fn punctuation(text: &str, from: usize) -> Option<(usize, usize)> {
    let wanted = |c: char| c.is_ascii_punctuation() || class(c) & PUNCTUATION != 0;
    let start = from + text[from..].find(wanted)?;
    Some((start, scan::run(text, start, wanted)))
}

/// The first run of bytes that are written as numbers: digits, ², ³, ¹, ¼, ½ and ¾.
pub fn byte_numbers(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let wanted = |byte: &u8| matches!(byte, b'0'..=b'9' | 0xB2 | 0xB3 | 0xB9 | 0xBC | 0xBD | 0xBE);
    let start = from + bytes[from..].iter().position(wanted)?;
    let n = bytes[start..].iter().take_while(|byte| wanted(byte)).count();
    Some((start, start + n))
}

/// `[0-9][0-9][0-9]`
pub fn three_digits(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let start = from + bytes[from..].windows(3).position(|three| three.iter().all(u8::is_ascii_digit))?;
    Some((start, start + 3))
}
