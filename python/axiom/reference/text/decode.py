"""From tokens back to text, a token at a time.

Tokens of byte-level vocabularies end in the middle of characters, so bytes wait here until their character is complete.
What cannot become a character is U+FFFD, one for each maximal subpart (Unicode 16, section 3.9), as Python's
`errors="replace"` has it. A whole text is decoded by pushing its tokens one by one, so a stream and a whole agree by
construction.
"""

from __future__ import annotations

from codecs import getincrementaldecoder

from axiom.reference.text.vocab import CONTROL, UNKNOWN, UNUSED, Vocab


class TokenDecoder:
    """Tokens to characters."""

    def __init__(self, vocab: Vocab, strip_space: bool, special: bool):
        """`strip_space` is for the beginning of a text in a vocabulary that puts a space there; `special` shows all."""
        self.vocab = vocab
        self.strip_space = strip_space
        self.special = special
        self.utf8 = getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        """Take one token, which must be in the vocabulary; return the characters that are complete with it."""
        if self.vocab.kinds[id] in (CONTROL, UNKNOWN, UNUSED) and not self.special:
            return ""
        piece = self.vocab.pieces[id]
        if self.strip_space and piece:
            piece = piece.removeprefix(b" ")
            self.strip_space = False
        return self.utf8.decode(piece)

    def finish(self) -> str:
        """End of the text: a character that is not complete is U+FFFD."""
        rest = self.utf8.decode(b"", final=True)
        self.utf8.reset()
        return rest
