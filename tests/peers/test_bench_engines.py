"""The engines of the comparison bench: each computes the same model, however the tokens come.

llama.cpp is always in the environment; ik_llama.cpp and OpenVINO GenAI are optional there (docs/performance.md).
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pytest

from benches.peers.engines import ENGINES
from benches.peers.ik_llama import VARIABLE
from tests.models import write_random_model

TOKENS = [7, 300, 41, 5, 260, 19, 83, 104, 11, 200]
MISSING = {
    "openvino": find_spec("openvino_genai") is None,
    "ik_llama.cpp": VARIABLE not in os.environ,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("engines") / "model.gguf"
    # The number of the file type and the byte pairs are for OpenVINO's reader, heads of 64 are the usual ones.
    shape = {"n_layer": 2, "n_embd": 256, "n_head": 4, "n_head_kv": 2, "n_ff": 512}
    return str(write_random_model(path, fmt="Q4_0", **shape, tokenizer="bpe", metadata={"general.file_type": 2}))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", [name for name in ENGINES if name not in ("axiom", "axiom-reference")])
def test_an_engine_gives_the_same_logits_in_one_pass_token_by_token_and_beside_another_sequence(name, model):
    if MISSING.get(name):
        pytest.skip(f"{name} is not here")
    ours = ENGINES["axiom"](model, n_threads=1, n_ctx=256, kv="f16").prefill(TOKENS)
    engine = ENGINES[name](model, n_threads=1, n_ctx=256, kv="f16", n_seq=2)
    engine.reset()
    at_once = engine.prefill(TOKENS)
    engine.reset()
    one_by_one = [engine.decode(token) for token in TOKENS][-1]
    engine.reset()
    together = [engine.decode_together([token, other]) for token, other in zip(TOKENS, TOKENS[::-1], strict=True)][-1]
    for logits in (at_once, one_by_one, together[0]):
        assert cosine(logits, ours) > 0.99
    # The other sequence reads the same tokens backwards, and must not have come out the same.
    assert cosine(together[1], ours) < 0.9
