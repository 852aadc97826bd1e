"""From tokens back to text, a token at a time.

Tokens of byte-level vocabularies end in the middle of characters, so bytes wait here until their character is complete.
What cannot become a character is U+FFFD, one for each maximal subpart (Unicode 16, section 3.9), as Python's
`errors="replace"` has it. A whole text is decoded by pushing its tokens one by one, so a stream and a whole agree by
construction.

Python's own incremental decoder gives the same characters in all, but holds the bytes of half a surrogate back until
the next byte comes.
"""

from __future__ import annotations

from axiom.reference.text.vocab import CONTROL, UNKNOWN, UNUSED, Vocab

# What comes after a first byte: how many bytes, and the bounds of the next one. They are narrower than 80 to BF after
# E0, ED, F0 and F4, so that over-long forms, surrogates and numbers beyond U+10FFFF end at the first wrong byte.
_AFTER = {
    **dict.fromkeys(range(0xC2, 0xE0), (1, 0x80, 0xBF)),
    **dict.fromkeys(range(0xE0, 0xF0), (2, 0x80, 0xBF)),
    **dict.fromkeys(range(0xF0, 0xF5), (3, 0x80, 0xBF)),
    0xE0: (2, 0xA0, 0xBF),
    0xED: (2, 0x80, 0x9F),
    0xF0: (3, 0x90, 0xBF),
    0xF4: (3, 0x80, 0x8F),
}


class Utf8Decoder:
    """Bytes to characters, in pieces of any size."""

    def __init__(self) -> None:
        """Stand between two characters."""
        self.begun = bytearray()
        self.missing, self.low, self.high = 0, 0, 0

    def push(self, piece: bytes) -> str:
        """Take some bytes; return the characters that are complete with them."""
        text = ""
        for byte in piece:
            if self.missing and self.low <= byte <= self.high:
                self.begun.append(byte)
                self.missing, self.low, self.high = self.missing - 1, 0x80, 0xBF
                if not self.missing:
                    text += self.begun.decode()
                continue
            # A byte that does not continue the character begins the next.
            text += self.finish()
            if byte < 0x80:
                text += chr(byte)
            elif byte in _AFTER:
                self.missing, self.low, self.high = _AFTER[byte]
                self.begun = bytearray([byte])
            else:
                text += "\ufffd"
        return text

    def finish(self) -> str:
        """End of the bytes: a character that is not complete is U+FFFD."""
        rest = "\ufffd" if self.missing else ""
        self.missing = 0
        return rest


class TokenDecoder:
    """Tokens to characters."""

    def __init__(self, vocab: Vocab, strip_space: bool, special: bool):
        """`strip_space` is for the beginning of a text in a vocabulary that puts a space there; `special` shows all."""
        self.vocab = vocab
        self.strip_space = strip_space
        self.special = special
        self.utf8 = Utf8Decoder()

    def push(self, id: int) -> str:
        """Take one token, which must be in the vocabulary; return the characters that are complete with it."""
        if self.vocab.kinds[id] in (CONTROL, UNKNOWN, UNUSED) and not self.special:
            return ""
        piece = self.vocab.pieces[id]
        if self.strip_space and piece:
            piece = piece.removeprefix(b" ")
            self.strip_space = False
        return self.utf8.push(piece)

    def finish(self) -> str:
        """End of the text: a character that is not complete is U+FFFD."""
        return self.utf8.finish()
