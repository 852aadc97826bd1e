"""The engines under comparison: one small class each, all with the same five members.

A class takes the model, the number of threads, the context length, the type of the KV cache ("f16" or "f32") and the
number of sequences, and then works on the first of these: `reset` empties all, `prefill` appends tokens in one batch,
`decode` appends one token, and both leave the logits of the last token in ordinary memory, which they return.
`decode_together` appends one token to each of several sequences and returns a row of logits for each. `version` says
what exactly ran. Two of them have files of their own: `ik_llama` and `openvino_genai`.
Anything an engine does by default that makes it faster stays on.
"""

from __future__ import annotations

import ctypes
import functools
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np

from axiom.body import Backend
from axiom.engine_options import EngineOptions
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import KVFormat, ModelConfig
from axiom.opening import open_engine
from benches.peers.ik_llama import IkLlama
from benches.peers.openvino_genai import OpenVinoGenAI


class Engine(Protocol):
    version: str

    def __init__(self, model: str, n_threads: int, n_ctx: int, kv: KVFormat, n_seq: int = 1) -> None: ...
    def reset(self) -> None: ...
    def prefill(self, tokens: list[int]) -> np.ndarray: ...
    def decode(self, token: int) -> np.ndarray: ...
    def decode_together(self, tokens: list[int]) -> np.ndarray: ...


def _axiom_version() -> str:
    try:
        return version("axiom")
    except PackageNotFoundError:
        return "from its source tree"


class Axiom:
    """axiom's native engine, by its own step function and not by the text interface above it."""

    backend: Backend = "native"

    def __init__(self, model: str, n_threads: int, n_ctx: int, kv: KVFormat, n_seq: int = 1) -> None:
        gguf = GGUFFile(model)
        options = EngineOptions(n_ctx=n_ctx, n_seq_max=n_seq, kv=kv, threads=n_threads)
        self._engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), options, self.backend)
        self._seqs = [self._engine.seq_new() for _ in range(n_seq)]
        self._out = np.empty((n_seq, self._engine.n_vocab), np.float32)
        self.version = f"axiom {_axiom_version()}, {self.backend} ({self._engine.info()['kernels']} kernels)"

    def reset(self) -> None:
        for seq in self._seqs:
            self._engine.seq_rewind(seq, 0)

    def prefill(self, tokens: list[int]) -> np.ndarray:
        return self._engine.forward(self._seqs[:1], [tokens], logits="last", out=self._out[:1])[0]

    def decode(self, token: int) -> np.ndarray:
        return self._engine.forward(self._seqs[:1], [[token]], logits="last", out=self._out[:1])[0]

    def decode_together(self, tokens: list[int]) -> np.ndarray:
        n = len(tokens)
        rows = [[token] for token in tokens]
        return self._engine.forward(self._seqs[:n], rows, logits="last", out=self._out[:n])


class AxiomReference(Axiom):
    """axiom's specification in numpy: how far the native engine has come from it, and a check of this bench."""

    backend: Backend = "reference"


@functools.cache  # for as long as the process lives: the library may log after an engine of it is gone
def _quiet_llama_cpp() -> Any:
    import llama_cpp

    say_nothing = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(say_nothing, ctypes.c_void_p(0))
    return say_nothing


class LlamaCpp:
    """llama.cpp by its C interface, out of llama-cpp-python: flash attention, repacked weights, its own batch size."""

    def __init__(self, model: str, n_threads: int, n_ctx: int, kv: KVFormat, n_seq: int = 1) -> None:
        import llama_cpp

        self._lib = llama_cpp
        _quiet_llama_cpp()
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(model.encode(), model_params)
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot load {model}")
        params = llama_cpp.llama_context_default_params()
        # The context is shared out: each sequence has an equal part.
        params.n_ctx = n_ctx * n_seq
        params.n_seq_max = n_seq
        # A prompt is handed over whole; llama.cpp cuts it into micro-batches of its default size, 512.
        params.n_batch = n_ctx
        params.n_threads = params.n_threads_batch = n_threads
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.type_k = params.type_v = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}[kv]
        params.no_perf = True
        self._ctx = llama_cpp.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise RuntimeError(f"llama.cpp cannot make a context of {n_ctx} positions for {model}")
        self._batch = llama_cpp.llama_batch_init(n_seq, 0, 1)
        self._n_pos = 0
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        features = llama_cpp.llama_print_system_info().decode()
        self.version = f"llama.cpp of llama-cpp-python {llama_cpp.__version__} ({features.strip(' |')})"

    def reset(self) -> None:
        self._lib.llama_memory_clear(self._lib.llama_get_memory(self._ctx), False)
        self._n_pos = 0

    def prefill(self, tokens: list[int]) -> np.ndarray:
        ids = (self._lib.llama_token * len(tokens))(*tokens)
        # This form of batch asks for the logits of its last token only.
        status = self._lib.llama_decode(self._ctx, self._lib.llama_batch_get_one(ids, len(tokens)))
        if status != 0:
            raise RuntimeError(f"llama_decode of {len(tokens)} tokens returned {status}")
        logits = self._lib.llama_get_logits_ith(self._ctx, -1)
        return np.ctypeslib.as_array(logits, (self._n_vocab,)).copy()

    def decode(self, token: int) -> np.ndarray:
        return self.prefill([token])

    def decode_together(self, tokens: list[int]) -> np.ndarray:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self._n_pos, True
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, i
        self._n_pos += 1
        status = self._lib.llama_decode(self._ctx, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode of {len(tokens)} sequences returned {status}")
        logits = self._lib.llama_get_logits(self._ctx)
        return np.ctypeslib.as_array(logits, (len(tokens), self._n_vocab)).copy()


ENGINES: dict[str, type[Engine]] = {
    "axiom": Axiom,
    "axiom-reference": AxiomReference,
    "llama.cpp": LlamaCpp,
    "ik_llama.cpp": IkLlama,
    "openvino": OpenVinoGenAI,
}
