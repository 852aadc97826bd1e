"""Tokens with a role: which they are, which of them end a generation, and how they are cut out of a text.

Model files name some roles by id and leave others to be known by their text, so the texts in use are listed here; the
lists are those that llama.cpp recognises (`llama-vocab.cpp`), so that a model ends its turn in both alike. A token in
such a list counts as a control token, whatever the file calls it, unless merges make it of ordinary letters.
"""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Iterator

from axiom.reference.text.source import VocabSource, wrong
from axiom.reference.text.unicode import WHITE_SPACE
from axiom.reference.text.vocab import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocab

# Where the texts of a role are several, the first that the vocabulary has is taken.
EOT_TEXTS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
)
EOM_TEXTS = ("<|eom_id|>",)
FIM_PAD_TEXTS = ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]")
FIM_REP_TEXTS = ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>")
FIM_SEP_TEXTS = ("<|file_sep|>",)
# All that end a generation by their text.
END_TEXTS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
)


class SpecialIds:
    """The ids of the roles; None where the vocabulary has no such token."""

    def __init__(self, vocab: Vocab, source: VocabSource):
        """Check the ids of the file, find the others by text, and make control tokens of those that are found."""
        n_vocab = vocab.n_vocab

        def at(role: str, default: int | None = None) -> int | None:
            id = source.ids[role]
            if id is None:
                return default if default is not None and default < n_vocab else None
            if id in (-1, 0xFFFFFFFF):
                return None
            if not 0 <= id < n_vocab:
                raise wrong(
                    f"tokenizer.ggml.{role}_token_id", None, f"an id from 0 to {n_vocab - 1}, or -1 for none", id
                )
            return id

        # SentencePiece's own defaults, where the file says nothing and the vocabulary is large enough.
        spm = vocab.model == "llama"
        self.bos = at("bos", 1 if spm else None)
        self.eos = at("eos", 2 if spm else None)
        eot, eom = at("eot"), at("eom")
        self.unk = at("unknown", 0 if spm else None)
        self.sep, self.pad = at("seperator"), at("padding")
        fim_pad, fim_rep, fim_sep = at("fim_pad"), at("fim_rep"), at("fim_sep")

        words = {merge.replace(b" ", b"") for merge in source.merges or []} - {b""}

        def named(text: str) -> int | None:
            """Return the token of this text, unless it is an ordinary word.

            Some vocabularies have `</s>` as a piece of HTML: a normal token that merges make of its letters. Such a
            token has no role, whatever its text; without this a model would end its turn where it strikes something
            out.
            """
            id = vocab.find(text.encode())
            return None if id is not None and vocab.kinds[id] == NORMAL and text.encode() in words else id

        def by_text(id: int | None, texts: tuple[str, ...]) -> int | None:
            if id is None:
                found = map(named, texts)
                id = next((id for id in found if id is not None), None)
                if id is not None:
                    vocab.kinds[id] = CONTROL
            return id

        self.eot = by_text(eot, EOT_TEXTS)
        self.eom = by_text(eom, EOM_TEXTS)
        fims = (by_text(fim_pad, FIM_PAD_TEXTS), by_text(fim_rep, FIM_REP_TEXTS), by_text(fim_sep, FIM_SEP_TEXTS))
        eog = {self.eos, self.eot, self.eom, *fims}
        for text in END_TEXTS:
            id = named(text)
            if id is not None:
                vocab.kinds[id] = CONTROL
                eog.add(id)
        eog.discard(None)
        self._take_back_end(vocab, eog)
        self.eog = sorted(id for id in eog if id is not None)

    @staticmethod
    def _take_back_end(vocab: Vocab, eog: set[int | None]) -> None:
        """In Harmony and Solar, known by other tokens of theirs, `<|end|>` ends a channel and the turn goes on."""

        def any_of(*texts: str) -> bool:
            return any(vocab.find(text.encode()) in eog for text in texts)

        if any_of("<|call|>", "<|calls|>") and any_of("<|return|>", "<|flush|>") and any_of("<|end|>"):
            end = vocab.ids[b"<|end|>"]
            vocab.kinds[end] = USER_DEFINED
            eog.discard(end)


class Matcher:
    """Finds special tokens in a text: at each place the longest, from left to right."""

    def __init__(self, vocab: Vocab, name: str | None):
        """Collect the special tokens of the vocabulary. `name` is the name of the model."""
        self.vocab = vocab
        # A token that is no text stands in none: what is cut out of a text begins and ends between characters.
        self.special: dict[bytes, int] = {
            vocab.texts[id]: id
            for id in range(vocab.n_vocab)
            if vocab.kinds[id] in (CONTROL, USER_DEFINED, UNKNOWN) and _is_text(vocab.texts[id])
        }
        # Model files do not say which tokens swallow white space. The Phi-3 models are known to have such.
        name = (name or "").lower()
        self.strip_right = set()
        if "phi-3" in name or "phi3" in name:
            keeps = (b"<unk>", b"<s>", b"<|endoftext|>")
            self.strip_right = {id for text, id in self.special.items() if text not in keeps}
        # The lengths that occur, longest first, by first byte: what to look up at a place.
        lengths: dict[int, set[int]] = {}
        for text in self.special:
            lengths.setdefault(text[0], set()).add(len(text))
        self.lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    def parts(self, text: str, parse_special: bool) -> Iterator[str | int]:
        """Yield the parts of `text` in order: strings to be encoded, and ids of special tokens.

        Control and unknown tokens count only if `parse_special`.
        """
        raw = text.encode()
        start = at = 0
        while at < len(raw):
            id = self._longest_at(raw, at, parse_special)
            if id is None:
                at += 1
                continue
            if at > start:
                yield raw[start:at].decode()
            yield id
            at += len(self.vocab.texts[id])
            if id in self.strip_right:
                rest = raw[at:].decode()
                at += len(raw) - at - len(rest.lstrip("".join(WHITE_SPACE)).encode())
            start = at
        if at > start:
            yield raw[start:at].decode()

    def _longest_at(self, raw: bytes, at: int, parse_special: bool) -> int | None:
        for n in self.lengths.get(raw[at], ()):
            id = self.special.get(raw[at : at + n])
            if id is not None and (parse_special or self.vocab.kinds[id] == USER_DEFINED):
                return id
        return None


def _is_text(raw: bytes) -> bool:
    try:
        return raw.decode() != ""
    except UnicodeDecodeError:
        return False
