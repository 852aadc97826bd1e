"""One run of llama.cpp: `python -m benches.streaming.peer MODEL CASE THREADS LIMIT TASKS`; the last line is JSON.

The model is mapped, as llama.cpp does by default. It is not repacked: that makes a second copy, for which such a group
has no room.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

N_TOKEN = 3


def main() -> None:
    model, case, threads, _, tasks = sys.argv[1:]
    Path(tasks).write_text(str(os.getpid()))
    import llama_cpp
    import numpy as np

    n_seq = 8 if case == "eight" else 1
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
    params.use_extra_bufts = False  # no second copy of the weights
    loaded = llama_cpp.llama_model_load_from_file(model.encode(), params)
    context = llama_cpp.llama_context_default_params()
    context.n_ctx, context.n_batch, context.n_seq_max = 128 * n_seq if n_seq > 1 else 384, 384, n_seq
    context.n_threads = context.n_threads_batch = int(threads)
    session = llama_cpp.llama_init_from_model(loaded, context)
    batch = llama_cpp.llama_batch_init(384, 0, 1)

    def step(position: int, tokens: list[int]) -> None:
        batch.n_tokens = n_seq * len(tokens)
        for seq in range(n_seq):
            for i, token in enumerate(tokens):
                at = seq * len(tokens) + i
                batch.token[at], batch.pos[at] = token, position + i
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, seq
                batch.logits[at] = i == len(tokens) - 1
        if llama_cpp.llama_decode(session, batch) != 0:
            raise SystemExit("llama_decode failed")
        n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(session, -1), (n_vocab,)).sum()

    step(0, [1, 2, 3, 4])
    start = time.perf_counter()
    for i in range(N_TOKEN):
        step(4 + i, [7 + i])
    print(json.dumps({"rate": n_seq * N_TOKEN / (time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
