//! The alphabet of byte-level vocabularies: each of the 256 bytes is written as one visible character.
//!
//! Source: GPT-2 (`bytes_to_unicode` in its encoder.py). The bytes of visible Latin-1 characters stand for themselves,
//! the other 68 are written as U+0100, U+0101, … in order, so that a space is `Ġ` and a newline `Ċ`.

/// The character that each byte is written as.
pub static CHAR_OF_BYTE: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100;
    let mut byte = 0;
    while byte < 256 {
        let code = if matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) {
            byte
        } else {
            next += 1;
            next - 1
        };
        match char::from_u32(code) {
            Some(c) => table[byte as usize] = c,
            None => unreachable!(),
        }
        byte += 1;
    }
    table
};

/// The inverse, for U+0000 to U+0143: the byte that a character writes, or 256 where it writes none.
static BYTE_OF_CHAR: [u16; 0x144] = {
    let mut table = [256; 0x144];
    let mut byte = 0;
    while byte < 256 {
        table[CHAR_OF_BYTE[byte] as usize] = byte as u16;
        byte += 1;
    }
    table
};

/// The byte that `c` writes, if it writes one.
pub fn byte_of(c: char) -> Option<u8> {
    let byte = *BYTE_OF_CHAR.get(c as usize)?;
    u8::try_from(byte).ok()
}

/// The UTF-8 bytes of `bytes` as a byte-level vocabulary writes them.
pub fn written(bytes: &[u8]) -> impl Iterator<Item = u8> + Clone {
    bytes.iter().flat_map(|&byte| {
        let code = CHAR_OF_BYTE[usize::from(byte)] as u32;
        // Every character of the alphabet is below U+0144, so it takes one byte or two.
        let two = [0xC0 | (code >> 6) as u8, 0x80 | (code & 0x3F) as u8];
        let one = [code as u8, 0];
        if code < 0x80 { one.into_iter().take(1) } else { two.into_iter().take(2) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec::Vec};

    #[test]
    fn every_byte_comes_back_and_is_written_as_its_character() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text: String = bytes.iter().map(|&b| CHAR_OF_BYTE[usize::from(b)]).collect();
        assert_eq!(text.chars().map(byte_of).collect::<Option<Vec<u8>>>(), Some(bytes.clone()));
        assert_eq!(written(&bytes).collect::<Vec<u8>>(), text.as_bytes());
        assert_eq!(CHAR_OF_BYTE[usize::from(b' ')], 'Ġ');
        assert_eq!(CHAR_OF_BYTE[0xAD], '\u{143}');
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of(' '), None);
    }
}
