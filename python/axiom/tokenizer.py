"""The tokenizer of a model, from the header of its file alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from axiom.arguments import BYTES, flag
from axiom.body import Backend, TextDecoder, host_backend, require_extension
from axiom.model_file.model_file import ModelFile, open_model

if TYPE_CHECKING:
    from axiom.reference.text import Tokenizer as TokenizerBody

__all__ = ["Tokenizer"]


class Tokenizer:
    """Encodes texts and decodes tokens by the vocabulary of a GGUF model.

    The header is all that is read, so a file that holds a vocabulary and no weights serves as well.

        tokenizer = axiom.Tokenizer("model.gguf")
        tokens = tokenizer.encode("Once upon a time")
        text = tokenizer.decode(tokens)

    Raises `ModelFormatError` if the vocabulary is not sound, `UnsupportedModelError` if it asks for an algorithm or a
    pre-tokenizer that is not built in; the message lists those that are.
    """

    def __init__(self, gguf: str | os.PathLike[str] | ModelFile, backend: Backend = "native"):
        """Read the vocabulary of `gguf`, a path or an open header."""
        self.backend: Backend = backend
        header = gguf if isinstance(gguf, ModelFile) else open_model(gguf)
        self._body = _load_body(backend)(header.metadata)

    def __repr__(self) -> str:
        """Show the algorithm and the size of the vocabulary."""
        pre = f", pre {self.pre!r}" if self.pre is not None else ""
        return f"Tokenizer({self.model!r}{pre}, {self.n_vocab} tokens)"

    def encode(
        self, text: str, add_special: bool = True, parse_special: bool = False, at_start: bool = True
    ) -> list[int]:
        """Return the tokens of `text`.

        `add_special` adds the begin- and end-of-text tokens that the model asks for. `parse_special` makes tokens of
        the texts of control tokens, such as `<|im_end|>`; without it no text becomes one, so leave it off for what
        users type. `at_start` says that a text begins here, before which SentencePiece vocabularies put a space; give
        False for a text that goes on.

        Raises `ValueError` for a text with lone surrogates.
        """
        _check_text(text)
        return self._body.encode(
            text,
            flag("add_special", add_special),
            flag("parse_special", parse_special),
            flag("at_start", at_start),
        )

    def decode(self, ids: Iterable[int], at_start: bool = True, special: bool = False) -> str:
        """Return the text of `ids`; bytes that are no text become U+FFFD.

        SentencePiece vocabularies put a space before a text. `at_start` says that `ids` begin a text, so that the
        space is taken away again; give False for tokens that continue a text. `special` shows control tokens by their
        text.

        Raises `ValueError` for an id that is not in the vocabulary.
        """
        if isinstance(ids, str | BYTES) or not isinstance(ids, Iterable):
            raise TypeError(f"ids: expected a list of tokens, got {ids!r:.80}")
        return self._body.decode(ids, flag("at_start", at_start), flag("special", special))

    def decoder(self, at_start: bool = True, special: bool = False) -> TextDecoder:
        """Return a decoder for tokens that come one at a time; the arguments are those of `decode`.

        What its `push` returns for each token, and its `finish` at the end, are together what `decode` returns.
        """
        return self._body.decoder(flag("at_start", at_start), flag("special", special))

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that token `id` stands for."""
        return self._body.token_bytes(id)

    def token_text(self, id: int) -> str:
        """Return the text of token `id` as the model file writes it."""
        return self._body.token_text(id)

    def token_kind(self, id: int) -> str:
        """Return what token `id` is for: normal, unknown, control, user_defined, unused or byte."""
        return self._body.token_kind(id)

    def token_id(self, text: str) -> int | None:
        """Return the token whose text in the model file is `text`, or None."""
        _check_text(text)
        return self._body.token_id(text)

    @property
    def n_vocab(self) -> int:
        """Number of tokens."""
        return self._body.n_vocab

    @property
    def model(self) -> str:
        """The algorithm, as `tokenizer.ggml.model` names it."""
        return self._body.model

    @property
    def pre(self) -> str | None:
        """The pre-tokenizer's name, or None where the algorithm has no such step."""
        return self._body.pre

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text, or None."""
        return self._body.bos_id

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text, or None."""
        return self._body.eos_id

    @property
    def eot_id(self) -> int | None:
        """The token that ends a turn, or None."""
        return self._body.eot_id

    @property
    def eom_id(self) -> int | None:
        """The token that ends a message inside a turn, or None."""
        return self._body.eom_id

    @property
    def unk_id(self) -> int | None:
        """The token for what the vocabulary cannot write, or None."""
        return self._body.unk_id

    @property
    def sep_id(self) -> int | None:
        """The token that separates two texts, or None."""
        return self._body.sep_id

    @property
    def pad_id(self) -> int | None:
        """The token that fills a batch, or None."""
        return self._body.pad_id

    @property
    def eog_ids(self) -> list[int]:
        """All tokens that end a generation, ascending."""
        return self._body.eog_ids

    @property
    def add_bos(self) -> bool:
        """Whether `encode` puts the begin-of-text token first when asked for special tokens."""
        return self._body.add_bos

    @property
    def add_eos(self) -> bool:
        """Whether `encode` puts the end-of-text token last when asked for special tokens."""
        return self._body.add_eos

    @property
    def add_space_prefix(self) -> bool:
        """Whether a text is encoded with a space before it."""
        return self._body.add_space_prefix


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {text!r:.80}")


def _load_body(backend: Backend) -> type[TokenizerBody]:
    """Import the tokenizer of a body. Both have the interface of the reference, so that is its type here."""
    if host_backend(backend) == "reference":
        from axiom.reference.text import Tokenizer

        return Tokenizer
    require_extension()
    from axiom import _native

    return cast("type[TokenizerBody]", _native.Tokenizer)
