//! The character classes that pre-tokenizers tell apart.
//!
//! A class is a bit, so that a regular expression's bracket is one mask: `[\p{L}\p{N}]` is `LETTER | NUMBER`, and its
//! complement is "has none of these bits". The version is pinned in `unicode_tables`; unassigned code points are `OTHER`.

use super::unicode_tables::RUNS;

/// Control, format, private-use and unassigned code points.
pub const OTHER: u16 = 1;
/// `Lu`, an upper-case letter.
pub const UPPER: u16 = 1 << 1;
/// `Ll`, a lower-case letter.
pub const LOWER: u16 = 1 << 2;
/// `Lt`, a title-case letter such as U+01C5.
pub const TITLE: u16 = 1 << 3;
/// `Lm`, a modifier letter.
pub const MODIFIER: u16 = 1 << 4;
/// `Lo`, a letter without case: Chinese, Arabic, Hindi and most others.
pub const UNCASED: u16 = 1 << 5;
/// `M`, a combining mark.
pub const MARK: u16 = 1 << 6;
/// `N`, digits of any script, letter numbers, fractions.
pub const NUMBER: u16 = 1 << 7;
/// `P`, punctuation.
pub const PUNCTUATION: u16 = 1 << 8;
/// `S`, symbols.
pub const SYMBOL: u16 = 1 << 9;
/// `Z`, separators.
pub const SEPARATOR: u16 = 1 << 10;
/// The property `White_Space`, in addition to the general category.
pub const SPACE: u16 = 1 << 11;
/// `L`, any letter.
pub const LETTER: u16 = UPPER | LOWER | TITLE | MODIFIER | UNCASED;

/// The bits of one character: one bit for its general category, and `SPACE` if it is white space.
pub fn class(c: char) -> u16 {
    match ASCII.get(c as usize) {
        Some(&bits) => bits,
        None => look_up(c as u32),
    }
}

/// ASCII is most of most texts, and is answered without a search.
static ASCII: [u16; 128] = {
    let mut table = [0; 128];
    let mut cp = 0;
    while cp < 128 {
        table[cp as usize] = look_up(cp);
        cp += 1;
    }
    table
};

const fn look_up(cp: u32) -> u16 {
    // Invariant: the run that holds `cp` starts at or after `RUNS[low]` and before `RUNS[high]`.
    let (mut low, mut high) = (0, RUNS.len());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if RUNS[middle] >> 4 <= cp {
            low = middle;
        } else {
            high = middle;
        }
    }
    let category = 1 << (RUNS[low] & 15);
    if is_white_space(cp) { category | SPACE } else { category }
}

const fn is_white_space(cp: u32) -> bool {
    matches!(
        cp,
        0x09..=0x0D | 0x20 | 0x85 | 0xA0 | 0x1680 | 0x2000..=0x200A | 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_known_characters() {
        let cases = [
            ('a', LOWER),
            ('Z', UPPER),
            ('5', NUMBER),
            ('!', PUNCTUATION),
            ('$', SYMBOL),
            (' ', SEPARATOR | SPACE),
            ('\n', OTHER | SPACE),
            ('\u{85}', OTHER | SPACE),
            ('\u{1C5}', TITLE),
            ('\u{2B0}', MODIFIER),
            ('中', UNCASED),
            ('\u{301}', MARK),
            ('½', NUMBER),
            ('\u{200B}', OTHER),
            ('\u{3000}', SEPARATOR | SPACE),
            ('\u{1C89}', UPPER),
            ('\u{378}', OTHER),
            ('\u{10FFFF}', OTHER),
        ];
        for (c, bits) in cases {
            assert_eq!(class(c), bits, "{c:?}");
        }
    }

    #[test]
    fn white_space_is_that_of_the_standard_library() {
        for c in '\0'..=char::MAX {
            assert_eq!(class(c) & SPACE != 0, c.is_whitespace(), "{c:?}");
        }
    }
}
