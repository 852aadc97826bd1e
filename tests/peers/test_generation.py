"""The model inside the package tells the same stories in axiom and in llama.cpp."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import llama_cpp
import pytest

import axiom

N_TOKENS = 64
PROMPTS = (
    "Once upon a time",
    "One day, a little girl",
    "There was a small dog who",
    "In the forest lived",
    "Tom and his mother went to",
    "The old man looked at the",
    "It was a cold morning and",
    "A bird sat in a tree",
    "Anna had a red ball",
    "When the sun came up,",
)


@pytest.fixture(scope="module")
def model() -> Path:
    (path,) = Path(str(files("axiom"))).joinpath("models").glob("*.gguf")
    return path


def test_greedy_text_is_the_same_in_nine_of_ten_prompts(model):
    with axiom.Runtime(model, n_ctx=256, threads=2) as runtime:
        ours = [completion.text for completion in runtime.generate(list(PROMPTS), N_TOKENS, temperature=0.0)]
    llama = llama_cpp.Llama(str(model), n_ctx=256, n_threads=2, n_threads_batch=2, verbose=False)
    theirs = [
        llama.create_completion(prompt, max_tokens=N_TOKENS, temperature=0.0, repeat_penalty=1.0)["choices"][0]["text"]
        for prompt in PROMPTS
    ]
    llama.close()
    different = [(prompt, a, b) for prompt, a, b in zip(PROMPTS, ours, theirs, strict=True) if a != b]
    # Two texts part for good at the first token where rounding turns a near tie the other way.
    assert len(different) <= 1, different
