"""One run of axiom: `python -m benches.streaming.ours IMAGE CASE THREADS LIMIT TASKS`; the last line is JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SECONDS_DISK = 0.7
N_TOKEN = 5
# What the control group holds besides the process: tables of the kernel, buffers of the disk.
BYTES_BESIDES = 64 << 20


def main() -> None:
    image, case, threads, limit, tasks = sys.argv[1:]
    Path(tasks).write_text(str(os.getpid()))
    import axiom

    n_seq, n_ctx = (8, 128) if case == "eight" else (1, 384)
    memory = int(limit) - BYTES_BESIDES
    runtime = axiom.Runtime(image, memory=memory, threads=int(threads), n_ctx=n_ctx, n_seq_max=n_seq)
    result = {"one": decode, "eight": decode, "prefill": prefill, "repetitive": repetitive}[case](runtime, image, n_seq)
    print(json.dumps(result))


def disk(image: str) -> float:
    from axiom._native import disk_bandwidth

    return float(disk_bandwidth(Path(image), SECONDS_DISK)[0])


def decode(runtime: Any, image: str, n_seq: int) -> dict[str, float]:
    """Tokens a second, all sequences together; the ceiling is a sweep of the disk for each pass."""
    engine = runtime.engine._engine  # its step function, not the text interface
    seqs = [engine.seq_new() for _ in range(n_seq)]
    engine.forward(seqs, [[1, 2, 3, 4]] * n_seq)
    before = disk(image)
    start = time.perf_counter()
    for i in range(N_TOKEN):
        engine.forward(seqs, [[7 + i]] * n_seq)
    seconds = (time.perf_counter() - start) / N_TOKEN
    rate = (before + disk(image)) / 2
    streamed = engine.info()["bytes_streamed"]
    return {
        "rate": n_seq / seconds,
        "share": streamed / rate / seconds,
        "disk": rate,
        "streamed": streamed,
        "tokens_per_pass": n_seq,
    }


def prefill(runtime: Any, image: str, _: int) -> dict[str, float]:
    """A prompt of 256 tokens. The ceiling is the larger of one sweep and of the time that its layers compute."""
    engine = runtime.engine._engine  # its step function, not the text interface
    seq = engine.seq_new()
    engine.forward([seq], [[1, 2, 3, 4]])
    engine.seq_rewind(seq, 0)
    before = disk(image)
    told = engine.telemetry()
    start = time.perf_counter()
    engine.forward([seq], [list(range(256))])
    seconds = time.perf_counter() - start
    rate = (before + disk(image)) / 2
    now = engine.telemetry()

    def computed(telemetry: dict[str, Any]) -> float:
        layers = telemetry["layers"]
        return float(sum(layer["layer_us"] - layer["stream_us"] for layer in layers) + telemetry["output_us"])

    compute = (computed(now) - computed(told)) / 1e6
    sweep = engine.info()["bytes_streamed"] / rate
    return {
        "rate": 256 / seconds,
        "share": max(compute, sweep) / seconds,
        "disk": rate,
        "compute_s": compute,
        "sweep_s": sweep,
        "seconds": seconds,
        "tokens_per_pass": 256,
    }


def repetitive(runtime: Any, image: str, _: int) -> dict[str, float]:
    """Greedy text after a prompt that repeats itself, with speculation, as it is on by default."""
    runtime.generate([5, 6], max_tokens=1)
    before = disk(image)
    completion = runtime.generate([7, 8, 9, 10] * 16, max_tokens=48, temperature=0.0, ignore_eos=True)
    rate = (before + disk(image)) / 2
    timings = completion.timings
    seconds = timings.decode_s / timings.decode_passes
    return {
        "rate": (len(completion.tokens) - 1) / timings.decode_s,
        "share": runtime.telemetry["info"]["bytes_streamed"] / rate / seconds,
        "disk": rate,
        "tokens_per_pass": timings.tokens_per_pass,
    }


if __name__ == "__main__":
    main()
