"""The native body on the same model and the same tokens, on one thread."""

from __future__ import annotations

import time

import numpy as np

from axiom.engine_options import EngineOptions
from axiom.model_file.model_config import ModelConfig
from axiom.model_file.model_file import open_model
from axiom.opening import open_engine
from axiom.tokenizer import Tokenizer
from benches.bare.guest import PROMPT


class Native:
    """The engine, opened once."""

    def __init__(self, model: str, n_ctx: int, kernels: str | None = None) -> None:
        opened = open_model(model)
        self.prompt = list(Tokenizer(opened).encode(PROMPT))
        options = EngineOptions(n_ctx=n_ctx, n_seq_max=1, threads=1, kernels=kernels)
        self._engine, _ = open_engine(opened, ModelConfig.from_gguf(opened), options)
        self.kernels = self._engine.info()["kernels"]
        self._seq = self._engine.seq_new()
        self._out = np.empty((1, self._engine.n_vocab), np.float32)

    def run(self, n_token: int) -> tuple[list[int], list[int]]:
        """The greedy tokens after the prompt, and the microseconds of each one's pass."""
        self._engine.seq_rewind(self._seq, 0)
        tokens, pass_us, new = [], [], self.prompt
        for _ in range(n_token):
            start = time.perf_counter_ns()
            logits = self._engine.forward([self._seq], [new], logits="last", out=self._out)[0]
            pass_us.append((time.perf_counter_ns() - start) // 1000)
            new = [int(logits.argmax())]
            tokens += new
        return tokens, pass_us
