"""The sampler chain beside llama.cpp's: the same settings leave the same tokens, with the same probabilities.

llama.cpp computes in f32, so a token on the very bound of a rule may fall on the other side; everything else agrees.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
import pytest

from axiom.reference import Sampler

N_VOCAB = 300
N_CASES = 400


def llama_distribution(logits: np.ndarray, history: list[int], settings: dict[str, Any]) -> dict[int, float]:
    """What llama.cpp's samplers leave, in the order of its own defaults, as probabilities by token."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    bias = settings["logit_bias"]
    biases = (llama_cpp.llama_logit_bias * len(bias))(*bias.items())
    steps = [
        llama_cpp.llama_sampler_init_logit_bias(N_VOCAB, len(bias), biases),
        llama_cpp.llama_sampler_init_penalties(
            N_VOCAB,
            settings["repeat_last_n"],
            settings["repeat_penalty"],
            settings["frequency_penalty"],
            settings["presence_penalty"],
        ),
        llama_cpp.llama_sampler_init_top_k(settings["top_k"]),
        llama_cpp.llama_sampler_init_typical(settings["typical_p"], 1),
        llama_cpp.llama_sampler_init_top_p(settings["top_p"], 1),
        llama_cpp.llama_sampler_init_min_p(settings["min_p"], 1),
        llama_cpp.llama_sampler_init_temp(settings["temperature"]),
    ]
    for step in steps:
        llama_cpp.llama_sampler_chain_add(chain, step)
    for token in history:
        llama_cpp.llama_sampler_accept(chain, token)
    entries = (llama_cpp.llama_token_data * N_VOCAB)(*[(t, float(logit), 0.0) for t, logit in enumerate(logits)])
    array = llama_cpp.llama_token_data_array(entries, N_VOCAB, -1, False)
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
    left = [(array.data[i].id, array.data[i].logit) for i in range(array.size)]
    llama_cpp.llama_sampler_free(chain)
    weights = np.exp(np.array([logit for _, logit in left]) - max(logit for _, logit in left))
    return {token: weight for (token, _), weight in zip(left, weights / weights.sum(), strict=True) if weight > 0}


def case(seed: int) -> tuple[np.ndarray, list[int], dict[str, Any]]:
    rng = np.random.default_rng(seed)

    def sometimes(value: Any, neutral: Any) -> Any:
        return value if rng.random() < 0.5 else neutral

    settings = {
        "temperature": sometimes(float(rng.uniform(0.3, 2.0)), 1.0),
        "top_k": sometimes(int(rng.integers(1, 100)), 0),
        "top_p": sometimes(float(rng.uniform(0.2, 0.99)), 1.0),
        "min_p": sometimes(float(rng.uniform(0.001, 0.3)), 0.0),
        "typical_p": sometimes(float(rng.uniform(0.2, 0.95)), 1.0),
        "repeat_penalty": sometimes(float(rng.uniform(0.8, 1.6)), 1.0),
        "presence_penalty": sometimes(float(rng.uniform(-1.0, 1.0)), 0.0),
        "frequency_penalty": sometimes(float(rng.uniform(-1.0, 1.0)), 0.0),
        "repeat_last_n": int(rng.integers(0, 80)),
        "logit_bias": sometimes({int(t): float(rng.normal()) for t in rng.choice(N_VOCAB, 4, replace=False)}, {}),
    }
    logits = rng.normal(0.0, 2.5, N_VOCAB).astype(np.float32)
    return logits, rng.integers(0, N_VOCAB, 100).tolist(), settings


def test_the_same_settings_leave_the_same_distribution() -> None:
    n_on_a_bound = 0
    for seed in range(N_CASES):
        logits, history, settings = case(seed)
        ours = dict(Sampler(N_VOCAB, **settings).distribution(logits, history))
        theirs = llama_distribution(logits, history, settings)
        if ours.keys() != theirs.keys():
            assert len(ours.keys() ^ theirs.keys()) == 1, f"case {seed}: {settings}"
            n_on_a_bound += 1
            continue
        for token, probability in theirs.items():
            assert ours[token] == pytest.approx(probability, rel=1e-4), f"case {seed}: {settings}"
    assert n_on_a_bound <= N_CASES // 100


def test_greedy() -> None:
    for seed in range(50):
        logits, history, settings = case(seed)
        settings["temperature"] = 0.0
        choice = Sampler(N_VOCAB, **settings).sample(logits, history, 0)
        # Greedy looks at bias and penalties alone, as llama.cpp does when its chain holds nothing else.
        alone = {**settings, "top_k": 1, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "temperature": 1.0}
        assert list(llama_distribution(logits, history, alone)) == [choice]
