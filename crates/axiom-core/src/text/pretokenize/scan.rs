//! What the scanners are made of: runs of characters of a class, from a place in the text.
//!
//! A scanner answers as a backtracking regular expression would, and takes time linear in what it reads. Places are
//! byte offsets at character boundaries.

use crate::text::unicode::{SPACE, class};

/// The character at `at` and the place after it.
pub fn next(text: &str, at: usize) -> Option<(char, usize)> {
    let c = text[at..].chars().next()?;
    Some((c, at + c.len_utf8()))
}

/// Where the characters from `at` on cease to satisfy `wanted`.
pub fn run(text: &str, at: usize, wanted: impl Fn(char) -> bool) -> usize {
    text.len() - text[at..].trim_start_matches(wanted).len()
}

/// `[…]*` of the classes in `set`.
pub fn run_of(text: &str, at: usize, set: u16) -> usize {
    run(text, at, |c| class(c) & set != 0)
}

/// `[^…]*` of the classes in `set`.
pub fn run_outside(text: &str, at: usize, set: u16) -> usize {
    run(text, at, |c| class(c) & set == 0)
}

/// At most `n_max` characters of the classes in `set`: `[…]{0,n}`.
pub fn run_of_up_to(text: &str, at: usize, set: u16, n_max: usize) -> usize {
    text[at..].chars().take(n_max).take_while(|&c| class(c) & set != 0).fold(at, |end, c| end + c.len_utf8())
}

/// `\s*[\r\n]+`: to the last line break in the white space, if there is one.
pub fn line_breaks(text: &str, at: usize) -> Option<usize> {
    let space = &text[at..run_of(text, at, SPACE)];
    space.rfind(['\r', '\n']).map(|last| at + last + 1)
}

/// `\s+(?!\S)|\s+`: white space up to the end of the text, or without its last character, which goes to the word after
/// it; a single one stays. `at` must be at white space.
pub fn white_space(text: &str, at: usize) -> usize {
    let end = run_of(text, at, SPACE);
    if end == text.len() {
        return end;
    }
    let last = text[at..end].char_indices().next_back().map_or(0, |(offset, _)| offset);
    if last > 0 { at + last } else { end }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, and with `fold` the same in any case.
///
/// Case folding makes an `s` of U+017F, the long s, too. No other letter outside ASCII folds to one of these.
pub fn contraction(text: &str, at: usize, fold: bool) -> Option<usize> {
    let mut letters = text[at..].strip_prefix('\'')?.chars();
    let mut letter = || {
        let c = letters.next()?;
        Some(match c {
            '\u{17F}' if fold => ('s', 2),
            _ if fold => (c.to_ascii_lowercase(), 1),
            _ => (c, 1),
        })
    };
    let (first, n_bytes) = letter()?;
    match first {
        's' | 't' | 'm' | 'd' => Some(at + 1 + n_bytes),
        'r' | 'v' if letter()?.0 == 'e' => Some(at + 3),
        'l' if letter()?.0 == 'l' => Some(at + 3),
        _ => None,
    }
}
