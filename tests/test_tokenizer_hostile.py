"""What a model file says about its vocabulary is a claim: each false one is refused, alike in both bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom import _native, reference
from axiom.errors import AxiomError, ModelFormatError, UnsupportedModelError
from tests.token_metadata import bpe_metadata, spm_metadata

T = "tokenizer.ggml."
BPE, SPM = bpe_metadata(n_merges=40), spm_metadata(n_pieces=300)
N = len(BPE[T + "tokens"])


def changed(base: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {k: v for k, v in base.items() if k != T + key}
    return base | {T + key: value}


def item(base: dict[str, Any], key: str, index: int, value: Any) -> dict[str, Any]:
    items = list(base[T + key])
    items[index] = value
    return base | {T + key: items}


UNSUPPORTED = {
    "unknown model": (changed(BPE, "model", "t5"), r'tokenizer.ggml.model: "t5" is not supported; .*"gpt2", "llama"'),
    "empty model": (changed(BPE, "model", ""), 'model: "" is not supported'),
    "unknown pre": (
        changed(BPE, "pre", "klingon"),
        r'pre: "klingon" is not supported; supported are "gpt-2", .*"tekken"',
    ),
    "no pre": (changed(BPE, "pre", None), "pre: a file without this key"),
}
FALSE = {
    "no model": (
        changed(BPE, "model", None),
        "tokenizer.ggml.model: expected the name of a tokenizer, got no such key",
    ),
    "model no string": (changed(BPE, "model", 7), "model: expected a string, got int"),
    "model not UTF-8": (changed(BPE, "model", b"\xff"), "model: expected a string, got bytes"),
    "no tokens": (changed(BPE, "tokens", None), "tokens: expected an array of strings, got no such key"),
    "empty vocabulary": (changed(BPE, "tokens", []), "tokens: expected from 1 to 16777215 tokens, got 0"),
    "tokens a string": (changed(BPE, "tokens", "abc"), "tokens: expected an array of strings, got str"),
    "tokens a number": (changed(BPE, "tokens", 3), "tokens: expected an array of strings, got int"),
    "token no string": (item(BPE, "tokens", 5, 5), r"tokens\[5\]: expected a string, got int"),
    "token twice": (
        item(BPE, "tokens", 9, b"!"),
        r'tokens\[33\]: expected each token once, got "!" again, after index 9',
    ),
    "types too few": (changed(BPE, "token_type", [1] * (N - 1)), f"token_type: expected {N} entries, .* got {N - 1}"),
    "types too many": (changed(BPE, "token_type", [1] * (N + 1)), f"token_type: expected {N} entries"),
    "type unknown": (item(BPE, "token_type", 3, 7), r"token_type\[3\]: expected a token type from 0 to 6, got 7"),
    "type negative": (item(BPE, "token_type", 3, -1), r"token_type\[3\]: .* got -1"),
    "types of strings": (changed(BPE, "token_type", ["x"] * N), "token_type: expected an array of integers, got list"),
    "types of floats": (
        changed(BPE, "token_type", np.ones(N)),
        "token_type: expected an array of integers, got ndarray",
    ),
    "byte token misspelt": (item(SPM, "tokens", 5, b"<0xGG>"), r'tokens\[5\]: expected a byte token .* got "<0xGG>"'),
    "no scores": (changed(SPM, "scores", None), "scores: expected a score for each token, got none"),
    "scores too few": (changed(SPM, "scores", [0.0]), "scores: expected 300 entries, one for each token, got 1"),
    "score NaN": (item(SPM, "scores", 4, float("nan")), r"scores\[4\]: expected a finite score, got NaN"),
    "score infinite": (item(SPM, "scores", 4, float("-inf")), r"scores\[4\]: expected a finite score, got -inf"),
    "score too large": (item(SPM, "scores", 4, 1e300), r"scores\[4\]: expected a finite score, got inf"),
    "no merges": (changed(BPE, "merges", None), "merges: expected a list of merges, got none"),
    "merge of one": (item(BPE, "merges", 2, b"ab"), r'merges\[2\]: expected two tokens with a space between, got "ab"'),
    "merge of nothing": (item(BPE, "merges", 2, b""), r"merges\[2\]: expected two tokens with a space"),
    "merge to the left": (item(BPE, "merges", 2, b"a "), r"merges\[2\]: expected two tokens with a space"),
    "merge to the right": (item(BPE, "merges", 2, b" a"), r"merges\[2\]: expected two tokens with a space"),
    "merge of strangers": (item(BPE, "merges", 2, b"zz qq"), r'merges\[2\]: .* together are a token, got "zz qq"'),
    "merge to a stranger": (item(BPE, "merges", 2, b"z q"), r"merges\[2\]: expected two tokens that together"),
    "id out of range": (
        changed(BPE, "eos_token_id", N),
        rf"eos_token_id: expected an id from 0 to {N - 1}, .* got {N}",
    ),
    "id negative": (changed(BPE, "bos_token_id", -2), "bos_token_id: expected an id from 0"),
    "id no number": (changed(BPE, "bos_token_id", "1"), "bos_token_id: expected an integer, got str"),
    "id a bool": (changed(BPE, "bos_token_id", True), "bos_token_id: expected an integer, got bool"),
    "id beyond 63 bits": (
        changed(BPE, "eos_token_id", 2**64 - 1),
        "eos_token_id: expected an id below 2.63, or -1 for none, got 18446744073709551615",
    ),
    "types of bytes": (
        changed(SPM, "token_type", b"\x01" * 300),
        "token_type: expected an array of integers, got bytes",
    ),
    "scores of bytes": (changed(SPM, "scores", b"\xff" * 300), "scores: expected an array of numbers, got bytes"),
    "pre of no use here": (changed(SPM, "pre", 7), "pre: expected a string, got int"),
    "types before numbers": (
        changed(changed(BPE, "token_type", [9]), "add_eos_token", 1),
        "add_eos_token: expected a bool, got int",
    ),
    "flag no bool": (changed(BPE, "add_bos_token", 1), "add_bos_token: expected a bool, got int"),
    "begin without a token": (
        changed(changed(BPE, "bos_token_id", None), "add_bos_token", True),
        "add_bos_token: expected false, since there is no tokenizer.ggml.bos_token_id, got true",
    ),
    "end without a token": (
        changed(changed(BPE, "eos_token_id", -1), "add_eos_token", True),
        "add_eos_token: expected false, since there is no tokenizer.ggml.eos_token_id",
    ),
}
BODIES = [_native.Tokenizer, reference.Tokenizer]
each_body = pytest.mark.parametrize("tokenizer_class", BODIES, ids=["native", "reference"])


@each_body
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(case: str, tokenizer_class: Callable[[Any], Any]) -> None:
    metadata, message = UNSUPPORTED[case]
    with pytest.raises(UnsupportedModelError, match=message):
        tokenizer_class(metadata)


@each_body
@pytest.mark.parametrize("case", FALSE)
def test_false(case: str, tokenizer_class: Callable[[Any], Any]) -> None:
    metadata, message = FALSE[case]
    with pytest.raises(ModelFormatError, match=message) as error:
        tokenizer_class(metadata)
    assert str(error.value).endswith("the file is damaged or was converted wrongly, convert it again")


@each_body
def test_odd_but_sound(tokenizer_class: Callable[[Any], Any]) -> None:
    # No such token, in both ways that files say it.
    for none in (-1, 0xFFFFFFFF):
        assert tokenizer_class(changed(BPE, "padding_token_id", none)).pad_id is None
    # A pair listed twice has its first rank.
    merges = [b"a b", b"b c", b"a b"]
    abc = {
        T + "model": "gpt2",
        T + "pre": "gpt-2",
        T + "tokens": [b"a", b"b", b"c", b"ab", b"bc"],
        T + "merges": merges,
    }
    assert tokenizer_class(abc).encode("abc") == [3, 2]
    # Without types every token is a piece of text.
    assert tokenizer_class(changed(BPE, "token_type", None)).token_kind(0) == "normal"
    # A vocabulary of one token, and nothing to write other bytes with.
    alone = tokenizer_class(
        {T + "model": "llama", T + "tokens": [b"a"], T + "scores": [0.0], T + "add_space_prefix": False}
    )
    assert alone.unk_id == 0
    assert alone.encode("ab") == [0, 0]
    nothing = tokenizer_class(
        {T + "model": "llama", T + "tokens": [b"a"], T + "scores": [0.0], T + "unknown_token_id": -1}
    )
    with pytest.raises(ValueError, match="no token for byte 0xE2"):
        nothing.encode("b")
    # A byte-level vocabulary without some bytes leaves them out, as the models' own tokenizers do.
    few = tokenizer_class({T + "model": "gpt2", T + "pre": "gpt-2", T + "tokens": [b"a", b"b"], T + "merges": []})
    assert few.encode("axb") == [0, 1]


@each_body
@pytest.mark.parametrize("base", [BPE, SPM], ids=["bpe", "spm"])
def test_a_special_token_that_is_no_text_stands_in_none(
    base: dict[str, Any], tokenizer_class: Callable[[Any], Any]
) -> None:
    # The last byte of "é", its first, and half of "中": cut out there, the rest would be no text.
    odd = {b"\xa9": 4, b"\xc3": 3, b"\xb8\xad": 2}
    tokens, types = [*base[T + "tokens"], *odd], [*base[T + "token_type"], *odd.values()]
    more = changed(changed(base, "tokens", tokens), "token_type", types)
    if T + "scores" in base:
        more = changed(more, "scores", [*base[T + "scores"], *[0.0] * len(odd)])
    plain, tokenizer = tokenizer_class(base), tokenizer_class(more)
    for text in ("é", "aéb", "中é中"):
        assert tokenizer.encode(text, parse_special=True) == plain.encode(text, parse_special=True)


few_letters = st.text("xy", min_size=1, max_size=5)


@given(
    special=st.dictionaries(few_letters, st.sampled_from([3, 4]), min_size=1, max_size=8),
    text=st.text("xy ", max_size=30),
    times=st.sampled_from([1, 300]),
    parse_special=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_the_longest_special_token_at_each_place(
    special: dict[str, int], text: str, times: int, parse_special: bool
) -> None:
    # Such tokens begin alike. Every letter many times over makes them long, and texts long in which they nearly stand.
    odd = {"".join(c * times for c in word).encode(): kind for word, kind in special.items()}
    known = {*BPE[T + "tokens"]}
    odd = {word: kind for word, kind in odd.items() if word not in known}
    tokens, types = [*BPE[T + "tokens"], *odd], [*BPE[T + "token_type"], *odd.values()]
    more = changed(changed(BPE, "tokens", tokens), "token_type", types)
    text = "".join(c * times for c in text)
    native, twin = (body.Tokenizer(more) for body in (_native, reference))
    assert native.encode(text, parse_special=parse_special) == twin.encode(text, parse_special=parse_special)


short = st.binary(max_size=4) | st.sampled_from(
    [b"a", b"b", b"ab", b"a b", b"<0x41>", b"<s>", b"\xe2\x96\x81", b"ab c"]
)


@settings(max_examples=500, deadline=None)
@given(
    model=st.sampled_from(["gpt2", "llama"]),
    tokens=st.lists(short, max_size=12),
    types=st.none() | st.lists(st.integers(-1, 7), max_size=12),
    scores=st.none() | st.lists(st.floats(width=32), max_size=12),
    merges=st.none() | st.lists(short, max_size=6),
    bos=st.none() | st.integers(-2, 12),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
def test_any_claims_give_the_same_tokenizer_or_the_same_error(
    model: str, tokens: Any, types: Any, scores: Any, merges: Any, bos: Any, text: str
) -> None:
    claims = {"model": model, "pre": "llama-bpe", "tokens": tokens, "token_type": types, "scores": scores}
    claims |= {"merges": merges, "bos_token_id": bos}
    metadata = {T + key: value for key, value in claims.items() if value is not None}
    outcomes = []
    for tokenizer_class in BODIES:
        try:
            tokenizer = tokenizer_class(metadata)
            outcomes.append((tokenizer.encode(text), tokenizer.encode(text, True, True), tokenizer.eog_ids))
        except (AxiomError, ValueError) as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]
