"""The model inside the package tells the same stories in axiom and in llama.cpp."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

import axiom
from tests.peers.oracle import BACKEND, llama_logits, write_float_twin

N_TOKENS = 64
N_CTX = 256
# Beginnings of the kinds that the model has learned, see tools/default_model.
PROMPTS = (
    "Once upon a time",
    "Once upon a time, there was a little girl named Lily.",
    "Once upon a time, there lived a little rabbit",
    "Tom was a brave little boy who",
    "One day, Mia woke up early.",
    "In the forest, there lived",
    "Ben lived",
    "A long time ago, there was",
    "It was a sunny day, and",
    "Anna loved to play",
)


@pytest.fixture(scope="module")
def model() -> Path:
    (path,) = Path(str(files("axiom"))).joinpath("models").glob("*.gguf")
    return path


def llama_story(llama: llama_cpp.Llama, prompt: list[int]) -> list[int]:
    """The greedy continuation, without the token that ends it."""
    tokens: list[int] = []
    llama.reset()
    llama.eval(prompt)
    while len(tokens) < N_TOKENS:
        token = int(np.argmax(llama.scores[llama.n_tokens - 1]))
        if token == llama.token_eos():
            break
        tokens.append(token)
        llama.eval([token])
    return tokens


@pytest.fixture(scope="module")
def stories(model: Path) -> list[tuple[list[int], list[int], list[int]]]:
    """(prompt, axiom's story, llama.cpp's story) as tokens."""
    llama = llama_cpp.Llama(
        str(model), n_ctx=N_CTX, n_threads=2, n_threads_batch=2, logits_all=True, flash_attn=False, verbose=False
    )
    told = []
    with axiom.Runtime(model, n_ctx=N_CTX, threads=2, backend=BACKEND) as runtime:
        completions = runtime.generate(list(PROMPTS), max_tokens=N_TOKENS, temperature=0.0)
        for text, completion in zip(PROMPTS, completions, strict=True):
            prompt = llama.tokenize(text.encode())
            assert prompt == list(runtime.tokenizer.encode(text))
            told.append((prompt, list(completion.tokens), llama_story(llama, prompt)))
    llama.close()
    return told


def test_greedy_stories_are_the_same_in_nine_of_ten(stories):
    same = [ours == theirs for _, ours, theirs in stories]
    assert sum(same) >= 9, [prompt for prompt, is_same in zip(PROMPTS, same, strict=True) if not is_same]


def test_stories_part_only_where_rounding_decides(stories, model, tmp_path):
    """Two stories part for good at the first near tie that rounding turns. Elsewhere they may not part at all."""
    twin = write_float_twin(model, tmp_path / "twin.gguf")
    for prompt, ours, theirs in stories:
        if ours == theirs:
            continue
        n_same = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
        assert n_same is not None, "one story ends where the other goes on"
        shared = prompt + theirs[:n_same]
        truth = llama_logits(twin, shared, kv="f32")[-1]
        # Both logits may be moved against one another, each by as much as llama.cpp moves the worst of this row.
        rounding = 2 * np.abs(llama_logits(model, shared)[-1] - truth).max()
        assert abs(truth[ours[n_same]] - truth[theirs[n_same]]) < rounding
