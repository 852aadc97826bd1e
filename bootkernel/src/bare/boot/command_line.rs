//! The command line: words of the form `name=value`, with spaces between. A value with spaces stands in quotes.

use super::{BootError, Physical};

/// Most bytes that are kept: what GRUB and QEMU pass on, and more.
pub const LONGEST_COMMAND_LINE: usize = 4096;

/// The command line, copied, with quotes resolved.
pub struct CommandLine {
    /// Words, each ended by a zero byte.
    words: [u8; LONGEST_COMMAND_LINE],
    n_byte: usize,
}

impl Default for CommandLine {
    fn default() -> Self {
        CommandLine::new()
    }
}

impl CommandLine {
    /// Without a word.
    pub const fn new() -> CommandLine {
        CommandLine { words: [0; LONGEST_COMMAND_LINE], n_byte: 0 }
    }

    /// Copies a line. Double quotes keep spaces, wherever in a word they begin (GRUB puts them around the whole word), and a
    /// backslash keeps the next character. Nothing but a space ends a word: GRUB quotes no word for a line break alone.
    ///
    /// # Errors
    ///
    /// [`BootError::TooMany`].
    pub fn copy_from(&mut self, line: &[u8]) -> Result<(), BootError> {
        self.n_byte = 0;
        let (mut is_quoted, mut is_word, mut is_escaped) = (false, false, false);
        for &byte in line {
            match byte {
                _ if is_escaped => {
                    self.push(byte)?;
                    is_escaped = false;
                }
                b'\\' => (is_escaped, is_word) = (true, true),
                b'"' => (is_quoted, is_word) = (!is_quoted, true),
                b' ' if !is_quoted => {
                    if is_word {
                        self.push(0)?;
                    }
                    is_word = false;
                }
                _ => {
                    self.push(byte)?;
                    is_word = true;
                }
            }
        }
        if is_word {
            self.push(0)?;
        }
        Ok(())
    }

    /// Copies the line at `address`, which ends with a zero byte.
    ///
    /// # Errors
    ///
    /// [`BootError::Table`] if that is not memory, [`BootError::TooMany`].
    pub fn copy_from_c(&mut self, address: u64, physical: &dyn Physical) -> Result<(), BootError> {
        let damaged = BootError::Table { name: "command line", address };
        let mut n = 0;
        // Byte by byte: the line may end at the end of memory.
        while physical.read(address.checked_add(n as u64).ok_or(damaged)?, 1).ok_or(damaged)? != [0] {
            n += 1;
            if n > LONGEST_COMMAND_LINE {
                return Err(too_long());
            }
        }
        self.copy_from(physical.read(address, n).ok_or(damaged)?)
    }

    fn push(&mut self, byte: u8) -> Result<(), BootError> {
        *self.words.get_mut(self.n_byte).ok_or(too_long())? = byte;
        self.n_byte += 1;
        Ok(())
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.words[..self.n_byte].split(|&byte| byte == 0).take(self.n_word())
    }

    fn n_word(&self) -> usize {
        self.words[..self.n_byte].iter().filter(|&&byte| byte == 0).count()
    }

    /// The value of the last word `name=value`.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.words().filter_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).last()
    }
}

fn too_long() -> BootError {
    BootError::TooMany { name: "bytes of command line", most: LONGEST_COMMAND_LINE }
}
