"""The tokenizer of one model: the parts put together. The interface is that of `axiom._native.Tokenizer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

from axiom.reference.text.bpe import Bpe
from axiom.reference.text.decode import TokenDecoder
from axiom.reference.text.pretokenize import PreTokenizer, by_name, split
from axiom.reference.text.source import VocabSource, wrong
from axiom.reference.text.special import Matcher, SpecialIds
from axiom.reference.text.spm import Spm
from axiom.reference.text.vocab import KIND_NAMES, Vocab

# The longest text of one call: the native body counts positions in 32 bits, and escaping makes three bytes of a space.
_TEXT_BYTES_MAX = (2**32 - 1) // 4


class Tokenizer:
    """Encodes texts and decodes tokens by the vocabulary that the metadata of a GGUF model holds."""

    def __init__(self, metadata: Mapping[str, Any]):
        """Check the keys `tokenizer.ggml.*` of `metadata` and build the tables."""
        source = VocabSource(metadata)
        self._vocab = vocab = Vocab(source)
        self._ids = ids = SpecialIds(vocab, source)
        self._matcher = Matcher(vocab, source.name)
        self._method: Spm | Bpe
        self._pre: PreTokenizer | None = None
        if vocab.model == "llama":
            self._method = Spm(vocab, source.scores, ids.unk)
            bos_by_default = True
        else:
            self._pre = by_name(source.pre)
            self._method = Bpe(vocab, source.merges, self._pre.ignore_merges)
            bos_by_default = self._pre.add_bos
        add_bos = _asked(source.add_bos, "bos", ids.bos)
        add_eos = _asked(source.add_eos, "eos", ids.eos)
        self.add_bos: bool = (bos_by_default and ids.bos is not None) if add_bos is None else add_bos
        self.add_eos: bool = bool(add_eos)
        self.add_space_prefix: bool = vocab.model == "llama" and source.add_space_prefix is not False

    def encode(
        self, text: str, add_special: bool = True, parse_special: bool = False, at_start: bool = True
    ) -> list[int]:
        """Return the tokens of `text`.

        `add_special` adds the begin- and end-of-text tokens that the model asks for. `parse_special` makes tokens of
        the texts of control tokens; without it no text becomes one. `at_start` says that a text begins here, before
        which SentencePiece puts a space.
        """
        _check_text(text)
        out: list[int] = []
        if add_special and self.add_bos and self._ids.bos is not None:
            out.append(self._ids.bos)
        for part in self._matcher.parts(text, parse_special):
            if isinstance(part, int):
                out.append(part)
                # The models were trained with a space after each special token too.
                at_start = True
            elif isinstance(self._method, Spm):
                prefix = " " if self.add_space_prefix and at_start else ""
                out += self._method.encode((prefix + part).replace(" ", "\u2581"))
                at_start = False
            else:
                assert self._pre is not None
                for word in split(self._pre, part):
                    out += self._method.encode(word)
        if add_special and self.add_eos and self._ids.eos is not None:
            out.append(self._ids.eos)
        return out

    def decode(self, ids: Iterable[int], at_start: bool = True, special: bool = False) -> str:
        """Return the text of `ids`.

        `at_start` says that they begin a text, so that the space that `encode` puts there is taken away again;
        `special` shows control tokens by their text. Bytes that are no text become U+FFFD.
        """
        decoder = self.decoder(at_start, special)
        return "".join([decoder.push(id) for id in ids]) + decoder.finish()

    def decoder(self, at_start: bool = True, special: bool = False) -> TextDecoder:
        """Return a decoder for tokens that come one at a time; the arguments are those of `decode`."""
        return TextDecoder(self, TokenDecoder(self._vocab, at_start and self.add_space_prefix, special))

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that token `id` stands for."""
        return self._vocab.pieces[self._checked_id(id)]

    def token_text(self, id: int) -> str:
        """Return the text of token `id` as the model file writes it."""
        return self._vocab.texts[self._checked_id(id)].decode("utf-8", "replace")

    def token_kind(self, id: int) -> str:
        """Return what token `id` is for: normal, unknown, control, user_defined, unused or byte."""
        return KIND_NAMES[self._vocab.kinds[self._checked_id(id)]]

    def token_id(self, text: str) -> int | None:
        """Return the token whose text in the model file is `text`, or None."""
        return self._vocab.find(text.encode("utf-8", "surrogatepass"))

    def _checked_id(self, id: int) -> int:
        try:
            number = index(id)
        except TypeError:
            raise TypeError(f"a token id must be an int, not {type(id).__name__}") from None
        n_vocab = self._vocab.n_vocab
        if not 0 <= number < n_vocab:
            raise ValueError(f"token id {number} is outside the vocabulary; ids go from 0 to {n_vocab - 1}")
        return number

    @property
    def n_vocab(self) -> int:
        """Number of tokens."""
        return self._vocab.n_vocab

    @property
    def model(self) -> str:
        """The algorithm, as `tokenizer.ggml.model` names it."""
        return self._vocab.model

    @property
    def pre(self) -> str | None:
        """The pre-tokenizer's name, or None where the algorithm has no such step."""
        return None if self._pre is None else self._pre.name

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text, or None."""
        return self._ids.bos

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text, or None."""
        return self._ids.eos

    @property
    def eot_id(self) -> int | None:
        """The token that ends a turn, or None."""
        return self._ids.eot

    @property
    def eom_id(self) -> int | None:
        """The token that ends a message inside a turn, or None."""
        return self._ids.eom

    @property
    def unk_id(self) -> int | None:
        """The token for what the vocabulary cannot write, or None."""
        return self._ids.unk

    @property
    def sep_id(self) -> int | None:
        """The token that separates two texts, or None."""
        return self._ids.sep

    @property
    def pad_id(self) -> int | None:
        """The token that fills a batch, or None."""
        return self._ids.pad

    @property
    def eog_ids(self) -> list[int]:
        """All tokens that end a generation, ascending."""
        return list(self._ids.eog)


class TextDecoder:
    """Decodes tokens that come one at a time; what it returns never holds a broken character."""

    def __init__(self, tokenizer: Tokenizer, decoder: TokenDecoder):
        """Take the parts; `Tokenizer.decoder` makes them."""
        self._tokenizer = tokenizer
        self._decoder = decoder

    def push(self, id: int) -> str:
        """Take token `id`; return the characters that are complete with it."""
        return self._decoder.push(self._tokenizer._checked_id(id))

    def finish(self) -> str:
        """End of the text; return U+FFFD if a character is not complete."""
        return self._decoder.finish()


def _asked(flag: bool | None, role: str, id: int | None) -> bool | None:
    if flag and id is None:
        raise wrong(
            f"tokenizer.ggml.add_{role}_token", None, f"false, since there is no tokenizer.ggml.{role}_token_id", "true"
        )
    return flag


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    try:
        n_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text has a lone surrogate, U+{ord(text[error.start]):04X}, at index {error.start}, which no UTF-8 "
            "can hold; decode its source with errors='replace'"
        ) from None
    if n_bytes > _TEXT_BYTES_MAX:
        raise ValueError(
            f"the text has {n_bytes} bytes, at most {_TEXT_BYTES_MAX} can be encoded in one call; encode it in parts"
        )
