"""The default model's story generator, its vocabulary, and the file that came of them."""

import hashlib
import random
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "python" / "axiom" / "models" / "storyteller.gguf"
N_STORY = 400


@pytest.fixture(scope="module")
def tools():
    """The generator and the tokenizer: scripts beside each other, not part of the package."""
    folder = str(ROOT / "tools" / "default_model")
    names = ("grammar", "cast", "plots_adventure", "plots_alone", "plots_friends", "corpus", "tokenizer")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, folder)
    try:
        import corpus
        import tokenizer

        yield corpus, tokenizer
    finally:
        sys.path.remove(folder)
        for name in names:
            sys.modules.pop(name, None)
            if before[name] is not None:
                sys.modules[name] = before[name]


@pytest.fixture(scope="module")
def stories(tools):
    corpus, _ = tools
    return list(corpus.stories(corpus.VALIDATION_SEED, N_STORY))


def test_a_seed_gives_the_same_story_everywhere(tools):
    corpus, _ = tools
    text = "\n".join(corpus.stories(0, 50))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "84ad352599af6c09884cbf3154a5c4746bcdb7cf6f82583b58d86c10ba175ab2"
    )


def test_stories_hold_no_slips_and_have_their_length(tools, stories):
    corpus, _ = tools
    for text in stories:
        assert corpus.slips(text) == []
        assert 80 <= len(text.split()) <= 250
        assert text.isascii()


@pytest.mark.parametrize(
    "broken",
    ["He saw a owl.", "an dog ran.", "He saw [a|b].", "the the dog.", "He ran. she sat.", "He ran , fast.", "No"],
)
def test_the_slip_check_can_fail(tools, broken):
    corpus, _ = tools
    assert corpus.slips(broken)


def test_stories_vary(stories):
    assert len(set(stories)) == N_STORY
    openings = {" ".join(text.split()[:6]) for text in stories}
    assert len(openings) > N_STORY / 8
    assert sum(text.startswith("Once upon a time") for text in stories) > N_STORY / 3


def test_every_plot_runs_in_both_worlds(tools):
    corpus, _ = tools
    met = set()
    for seed in range(3000):
        story, plot = corpus._cast(random.Random(seed))
        met.add((plot.__name__, story.slots["h"].world))
    assert len(met) == 2 * len(corpus.PLOTS)


def test_the_hero_keeps_name_and_pronoun(tools):
    corpus, _ = tools
    for seed in range(300):
        story, _plot = corpus._cast(random.Random(seed))
        hero, friend = story.slots["h"], story.slots["f"]
        assert hero.name != friend.name
        text = corpus.story(seed).lower()
        assert text.count(hero.call.lower()) >= 3
        if hero.female and friend.female and story.slots["g"].female:
            assert not re.search(r"\b(he|his|him)\b", text)


def test_vocabulary_encodes_and_decodes(tools, stories):
    _, tokenizer = tools
    vocab = tokenizer.train(stories, 600)
    assert len(vocab.tokens) == len(vocab.scores) == len(vocab.types) == 600
    for text in [*stories[:50], "", " ", "Zoë's  naïve\t“fox”: 3 < 7 = 21! ~^|", "a\n\nb"]:
        assert vocab.decode(vocab.encode(text)) == text


def test_vocabulary_joins_best_score_first(tools):
    """The word cache must not change what the plain algorithm over the whole text gives."""
    _, tokenizer = tools
    vocab = tokenizer.train(["the cat sat on the mat", "then the theme ends, the end"] * 3, 420)

    def plain(text):
        symbols = list("▁" + text.replace(" ", "▁"))
        while True:
            pairs = pairwise(symbols)
            joins = [(vocab.ids[a + b], at) for at, (a, b) in enumerate(pairs) if a + b in vocab.ids]
            if not joins:
                break
            _, at = min(joins)
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return [token for s in symbols for token in ([vocab.ids[s]] if s in vocab.ids else [3 + b for b in s.encode()])]

    for text in ["the cat sat", "then, the end.", "a theme; on the mat\nthen", "unknown  words? Yes!"]:
        assert vocab.encode(text) == plain(text)


def test_the_model_file_is_small_and_labelled():
    gguf = pytest.importorskip("gguf")
    assert MODEL.stat().st_size <= 8_000_000
    reader = gguf.GGUFReader(MODEL)
    field = {key: value.contents() for key, value in reader.fields.items()}
    assert field["general.architecture"] == "llama"
    assert field["general.license"] == "apache-2.0"
    assert field["tokenizer.ggml.model"] == "llama"
    assert len(field["tokenizer.ggml.tokens"]) == field["llama.vocab_size"]
    kinds = {tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds == {"Q8_0", "F32"}


def test_the_model_file_holds_the_vocabulary_of_the_corpus(tools, stories):
    gguf = pytest.importorskip("gguf")
    _, tokenizer = tools
    tokens = gguf.GGUFReader(MODEL).fields["tokenizer.ggml.tokens"].contents()
    vocab = tokenizer.Vocabulary(tokens[tokenizer.N_SPECIAL + tokenizer.N_BYTE :])
    newline = tokenizer.N_SPECIAL + ord("\n")
    for text in stories[:100]:
        ids = vocab.encode(text)
        assert vocab.decode(ids) == text
        assert all(token >= tokenizer.N_SPECIAL + tokenizer.N_BYTE or token == newline for token in ids)
