//! From tokens back to text, a token at a time.
//!
//! Tokens of byte-level vocabularies end in the middle of characters, so bytes wait here until their character is
//! complete. What cannot become a character is U+FFFD, one for each maximal subpart (Unicode 16, section 3.9), as Python's
//! `errors="replace"` has it. A whole text is decoded by pushing its tokens one by one, so a stream and a whole agree by
//! construction. Nothing here allocates.

use super::vocab::{Kind, Vocab};

/// Bytes to characters, in pieces of any size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Decoder {
    /// The code point so far.
    code: u32,
    /// How many bytes are still to come; 0 between characters.
    missing: u8,
    /// The bounds of the next byte. They are narrower than 80..=BF after E0, ED, F0 and F4, so that over-long forms,
    /// surrogates and numbers beyond U+10FFFF end at the first byte that is wrong.
    low: u8,
    high: u8,
}

impl Utf8Decoder {
    /// Take one byte; `emit` is called for each character that is complete with it, at most two.
    pub fn push(&mut self, byte: u8, emit: &mut impl FnMut(char)) {
        if self.missing > 0 {
            if (self.low..=self.high).contains(&byte) {
                self.code = self.code << 6 | u32::from(byte & 0x3F);
                self.missing -= 1;
                (self.low, self.high) = (0x80, 0xBF);
                if self.missing == 0 {
                    emit(char::from_u32(self.code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                return;
            }
            // The byte does not continue the character, so it begins the next.
            self.missing = 0;
            emit(char::REPLACEMENT_CHARACTER);
        }
        (self.missing, self.low, self.high) = match byte {
            0x00..=0x7F => return emit(char::from(byte)),
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xE1..=0xEF => (2, 0x80, 0xBF),
            0xF0 => (3, 0x90, 0xBF),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            _ => return emit(char::REPLACEMENT_CHARACTER),
        };
        self.code = u32::from(byte) & (0x3F >> self.missing);
    }

    /// End of the bytes: a character that is not complete is U+FFFD.
    pub fn finish(&mut self, emit: &mut impl FnMut(char)) {
        if self.missing > 0 {
            emit(char::REPLACEMENT_CHARACTER);
        }
        *self = Self::default();
    }
}

/// Tokens to characters.
#[derive(Clone, Copy, Debug)]
pub struct TextDecoder {
    utf8: Utf8Decoder,
    /// Drop one space if the text begins with it.
    strip_space: bool,
    /// Show control, unknown and unused tokens by their text.
    special: bool,
}

impl TextDecoder {
    /// `strip_space` is for the beginning of a text in a vocabulary that puts a space there.
    pub fn new(strip_space: bool, special: bool) -> Self {
        TextDecoder { utf8: Utf8Decoder::default(), strip_space, special }
    }

    /// Take one token, which must be in the vocabulary; `emit` is called for each character that is complete with it.
    pub fn push(&mut self, vocab: &Vocab, id: u32, emit: &mut impl FnMut(char)) {
        let hidden = matches!(vocab.kind(id), Kind::Control | Kind::Unknown | Kind::Unused);
        if hidden && !self.special {
            return;
        }
        let mut piece = vocab.piece(id);
        if self.strip_space && !piece.is_empty() {
            piece = piece.strip_prefix(b" ").unwrap_or(piece);
            self.strip_space = false;
        }
        for &byte in piece {
            self.utf8.push(byte, emit);
        }
    }

    /// End of the text: a character that is not complete is U+FFFD.
    pub fn finish(&mut self, emit: &mut impl FnMut(char)) {
        self.utf8.finish(emit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn decoded(bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut decoder = Utf8Decoder::default();
        for &byte in bytes {
            decoder.push(byte, &mut |c| text.push(c));
        }
        decoder.finish(&mut |c| text.push(c));
        text
    }

    #[test]
    fn agrees_with_the_standard_library_on_every_short_sequence_of_edge_bytes() {
        // The first and last byte of every range of the table above, and their neighbours.
        const EDGES: [u8; 26] = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
            0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFE, 0xFF,
        ];
        for n in 0..=4u32 {
            for mut number in 0..EDGES.len().pow(n) {
                let bytes: alloc::vec::Vec<u8> = (0..n)
                    .map(|_| {
                        let byte = EDGES[number % EDGES.len()];
                        number /= EDGES.len();
                        byte
                    })
                    .collect();
                assert_eq!(decoded(&bytes), String::from_utf8_lossy(&bytes), "{bytes:02X?}");
            }
        }
    }
}
