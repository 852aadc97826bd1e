"""The order of the runs, and what is recorded of each.

A pair is one run of each engine, directly after one another, so that both see the same clock, heat and neighbours; a
ratio is only ever taken within a pair. Every other pair runs in the opposite order, so that whatever a run does to the
one after it hits both alike. While an engine runs, the others wait for their next request, and the processor time that
they use meanwhile is recorded: an engine whose threads spin at rest would slow its rival and must not go unseen.
"""

from __future__ import annotations

import base64
import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benches.peers.machine import busy_processor, busy_s, read_bandwidth
from benches.peers.worker import Worker


@dataclass(frozen=True)
class Case:
    """What is timed: `n_tokens` tokens in one pass ("prefill"), or one at a time after a prompt of `depth` ("decode"),
    or one at a time in each of `n_seq` sequences together ("together").
    """

    kind: str
    n_tokens: int
    depth: int = 0
    n_seq: int = 1
    is_busy: bool = False
    """With a busy loop on one of the processors."""

    @property
    def name(self) -> str:
        name = (
            f"{self.kind} {self.n_seq} x {self.n_tokens}" if self.kind == "together" else f"{self.kind} {self.n_tokens}"
        )
        return name + (f" at {self.depth}" if self.depth else "") + (", one processor busy" if self.is_busy else "")


@dataclass(frozen=True)
class Run:
    seconds: list[float]
    """Of each timed step: one for a prefill, one per token for a decode."""
    wall_s: float
    """The whole request, untimed prompt included; the two below are shares of it."""
    idle_peers_s: float
    """Processor time that the other engines used while this one ran."""
    foreign_s: float
    """Processor time that anything else on the machine used meanwhile."""

    @property
    def total_s(self) -> float:
        return sum(self.seconds)


@dataclass
class Comparison:
    case: Case
    n_threads: int
    versions: dict[str, str]
    runs: dict[str, list[Run]] = field(default_factory=dict)
    cosine: dict[str, float] = field(default_factory=dict)
    """Of each peer's logits with the subject's, after the same prompt: that both computed the same model."""
    bandwidth: list[float] = field(default_factory=list)
    """Bytes per second that the threads read from memory, measured before each pair of a decode."""

    def rates(self, engine: str) -> list[float]:
        """Tokens per second of each run, of all sequences together."""
        return [self.case.n_seq * self.case.n_tokens / run.total_s for run in self.runs[engine]]

    def ratios(self, subject: str, peer: str) -> list[float]:
        """How many times as fast as `peer` `subject` was, pair by pair."""
        return [s / p for s, p in zip(self.rates(subject), self.rates(peer), strict=True)]


@dataclass(frozen=True)
class TokenTimes:
    """The times of the tokens of one run, in seconds, less what they grow with the context."""

    p50: float
    p99: float
    largest: float

    @classmethod
    def of(cls, run: Run) -> TokenTimes:
        """Takes out the line from the median of the first half to that of the second."""
        n = len(run.seconds)
        first, second = statistics.median(run.seconds[: n // 2]), statistics.median(run.seconds[n // 2 :])
        slope = (second - first) / (n - n // 2)
        level = sorted(seconds - slope * (i - n / 2) for i, seconds in enumerate(run.seconds))
        return cls(statistics.median(level), level[min(n - 1, math.ceil(0.99 * n) - 1)], level[-1])

    @property
    def excess(self) -> float:
        """How much longer a slow token takes than an ordinary one."""
        return self.p99 - self.p50


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(minimum, median, maximum)."""
    return min(values), statistics.median(values), max(values)


def compare(
    engines: Sequence[str],
    model: str,
    cases: Sequence[Case],
    *,
    n_threads: int,
    n_pairs: int,
    n_vocab: int,
    kv: str,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Comparison]:
    """Times every case on every engine; `engines[0]` is the subject that the others are compared with."""
    n_ctx = max(case.n_tokens + case.depth for case in cases)
    n_ctx += -n_ctx % 256
    n_seq = max(case.n_seq for case in cases)
    # One list of tokens for all: case by case the same tokens go to every engine.
    tokens = random.Random(seed).choices(range(n_vocab), k=n_ctx)
    workers: list[Worker] = []
    try:
        for engine in engines:
            workers.append(Worker(engine, model, n_threads, n_ctx, kv, n_seq))
            progress(f"{engine}, {n_threads} threads: loaded in {workers[-1].load_s:.1f} s")
        versions = {worker.engine: worker.version for worker in workers}
        cosine = _check_same_model(workers, tokens[:32])
        comparisons = [Comparison(case, n_threads, versions, {e: [] for e in engines}, cosine) for case in cases]
        for case in cases:
            for worker in workers:
                _run(worker, workers, case, tokens)  # warm-up, not recorded
        # Every case has its pair before the next begins, so that two cases that are compared are of the same minutes.
        for pair in range(n_pairs):
            for comparison in comparisons:
                case = comparison.case
                if case.kind == "decode" and not case.is_busy and (rate := read_bandwidth(n_threads)):
                    comparison.bandwidth.append(rate)
                for worker in workers if pair % 2 == 0 else reversed(workers):
                    comparison.runs[worker.engine].append(_run(worker, workers, case, tokens))
                rates = ", ".join(f"{e} {comparison.rates(e)[-1]:.2f}" for e in engines)
                progress(f"{case.name}, {n_threads} threads, pair {pair + 1} of {n_pairs}: {rates} tokens/s")
        return comparisons
    finally:
        for worker in workers:
            worker.close()


def _run(worker: Worker, workers: Sequence[Worker], case: Case, tokens: list[int]) -> Run:
    peers = [w for w in workers if w is not worker]
    before = time.perf_counter(), busy_s(), worker.cpu_s(), sum(p.cpu_s() for p in peers)
    with busy_processor() if case.is_busy else contextlib.nullcontext():
        if case.kind == "prefill":
            reply = worker.ask("prefill", tokens=tokens[: case.n_tokens])
        elif case.kind == "together":
            # Every sequence goes through the list from another place.
            steps = [[tokens[(i + 17 * seq) % len(tokens)] for seq in range(case.n_seq)] for i in range(case.n_tokens)]
            reply = worker.ask("together", tokens=steps)
        else:
            prompt, appended = tokens[: case.depth], tokens[case.depth : case.depth + case.n_tokens]
            reply = worker.ask("decode", prompt=prompt, tokens=appended)
    after = time.perf_counter(), busy_s(), worker.cpu_s(), sum(p.cpu_s() for p in peers)
    wall, busy, own, idle = (b - a for a, b in zip(before, after, strict=True))
    return Run(reply["seconds"], wall, idle, max(0.0, busy - own - idle))


def _check_same_model(workers: Sequence[Worker], prompt: list[int]) -> dict[str, float]:
    """Cosine of each peer's logits with the subject's; below 0.99 the engines do not run the same model."""
    logits = []
    for worker in workers:
        reply = worker.ask("logits", tokens=prompt)
        logits.append(np.frombuffer(base64.b64decode(reply["logits"]), "<f4").astype(np.float64))
    cosine = {}
    for worker, row in zip(workers[1:], logits[1:], strict=True):
        cosine[worker.engine] = float(row @ logits[0] / np.linalg.norm(row) / np.linalg.norm(logits[0]))
        if not cosine[worker.engine] > 0.99:
            raise RuntimeError(
                f"{worker.engine} and {workers[0].engine} disagree on the same prompt (cosine of the logits "
                f"{cosine[worker.engine]:.4f}, expected over 0.99): they do not run the same model"
            )
    return cosine
