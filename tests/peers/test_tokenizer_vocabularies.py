"""The texts and tokens that llama.cpp ships with its vocabularies, made by Hugging Face `transformers`."""

from __future__ import annotations

from pathlib import Path

import pytest

import axiom
from axiom.body import Backend

NAMES = [
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
]
# Each is refused by name: WordPiece, a BPE over UTF-8 with its own escapes, Unigram, and files older than `pre`.
REFUSED = ["aquila", "bert-bge", "gemma-4", "gpt-neox", "nomic-bert-moe"]


def vocabulary(llama_source: Path, name: str) -> Path:
    return llama_source / "vendor" / "llama.cpp" / "models" / f"ggml-vocab-{name}.gguf"


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_expected_outputs(llama_source: Path, name: str, backend: Backend) -> None:
    path = vocabulary(llama_source, name)
    tokenizer = axiom.Tokenizer(path, backend=backend)
    inputs = Path(f"{path}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    # The last text is empty, and its tokens are what follows the last line break: nothing.
    outputs = Path(f"{path}.out").read_text().split("\n")
    assert len(inputs) == len(outputs) >= 40
    for text, expected in zip(inputs, outputs, strict=True):
        tokens = tokenizer.encode(text, add_special=False)
        assert tokens == [int(number) for number in expected.split()], ascii(text)
        assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused(llama_source: Path, name: str, backend: Backend) -> None:
    with pytest.raises(axiom.UnsupportedModelError, match="supported are"):
        axiom.Tokenizer(vocabulary(llama_source, name), backend=backend)


def test_every_vocabulary_is_listed(llama_source: Path) -> None:
    here = {
        path.name[len("ggml-vocab-") : -len(".gguf")] for path in vocabulary(llama_source, "x").parent.glob("*.gguf")
    }
    assert here == {"baichuan", *NAMES, *REFUSED}
