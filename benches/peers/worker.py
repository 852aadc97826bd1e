"""A process that holds one engine and times it on request.

Each engine lives in a process of its own, so that no engine inherits another's threads, allocator or page tables, and
stays alive from run to run, so that every run but the first is warm. One JSON object per line in, one out. All engines
are timed by these same lines.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import time
from typing import IO, Any


def serve(requests: IO[str], replies: IO[str]) -> None:
    from benches.peers.engines import ENGINES

    engine: Any = None
    for line in requests:
        request = json.loads(line)
        try:
            match request.pop("do"):
                case "load":
                    started = time.perf_counter()
                    engine = ENGINES[request.pop("engine")](**request)
                    reply = {"version": engine.version, "seconds": time.perf_counter() - started}
                case "prefill":
                    reply = {"seconds": [_time_prefill(engine, request["tokens"])]}
                case "decode":
                    reply = {"seconds": _time_decode(engine, request["prompt"], request["tokens"])}
                case "together":
                    reply = {"seconds": _time_together(engine, request["tokens"])}
                case "logits":
                    engine.reset()
                    logits = engine.prefill(request["tokens"])
                    reply = {"logits": base64.b64encode(logits.astype("<f4").tobytes()).decode()}
                case unknown:
                    reply = {"error": f"no such request: {unknown}"}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


def _time_prefill(engine: Any, tokens: list[int]) -> float:
    engine.reset()
    started = time.perf_counter()
    engine.prefill(tokens)
    return time.perf_counter() - started


def _time_decode(engine: Any, prompt: list[int], tokens: list[int]) -> list[float]:
    engine.reset()
    if prompt:
        engine.prefill(prompt)
    marks = [time.perf_counter()]
    for token in tokens:
        engine.decode(token)
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)]


def _time_together(engine: Any, tokens: list[list[int]]) -> list[float]:
    engine.reset()
    marks = [time.perf_counter()]
    for step in tokens:
        engine.decode_together(step)
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)]


class Worker:
    """The parent's end of one worker process."""

    def __init__(self, engine: str, model: str, n_threads: int, n_ctx: int, kv: str, n_seq: int = 1) -> None:
        self.engine = engine
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benches.peers.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        loaded = self.ask("load", engine=engine, model=model, n_threads=n_threads, n_ctx=n_ctx, kv=kv, n_seq=n_seq)
        self.version: str = loaded["version"]
        self.load_s: float = loaded["seconds"]

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.engine}: the worker ended with status {self._process.wait()} during {do!r}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise RuntimeError(f"{self.engine}: {reply['error']}")
        return reply

    def cpu_s(self) -> float:
        """Processor time of all threads of the worker so far, in seconds (Linux)."""
        with open(f"/proc/{self._process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def main() -> None:
    # What an engine prints must not mix with the replies: they keep the real stdout to themselves.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
