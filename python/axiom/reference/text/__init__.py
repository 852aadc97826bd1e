"""Text to tokens and back: the specification, file for file the twin of `axiom-core/src/text`.

A text goes through the parts in this order: `special` cuts out the special tokens, `pretokenize` cuts what is left into
words, `bpe` or `spm` joins the characters of each word into tokens, both by the one loop in `merge`; `decode` goes the
other way. `vocab` is the checked table of tokens, `unicode` the character classes of one pinned Unicode version.
"""

from axiom.reference.text.tokenizer import TextDecoder, Tokenizer

__all__ = ["TextDecoder", "Tokenizer"]
