"""The measured figures as a Markdown table or as JSON with every single run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.peers.machine import Machine
from benches.peers.measure import Comparison, TokenTimes, spread

# More than this share of the machine's time used by others makes a run doubtful, and the table says so.
_DOUBTFUL_SHARE = 0.05
# The system counts processor time in steps of 10 ms; shares of less time than this say nothing.
_LEAST_SECONDS = 0.5
# Of fewer tokens there is no hundredth to speak of.
_LEAST_TOKENS = 200


@dataclass(frozen=True)
class Model:
    file: str
    architecture: str
    formats: dict[str, int]
    """Bytes of the tensors of each format."""
    n_bytes_per_token: int
    """Weights that decoding one token has to read: all, but of an untied embedding one row."""


def as_json(machine: Machine, model: Model, results: Sequence[Comparison]) -> str:
    return json.dumps(
        {
            "machine": asdict(machine),
            "model": asdict(model),
            "results": [_as_dict(result) for result in results],
        },
        indent=2,
    )


def _as_dict(result: Comparison) -> dict[str, Any]:
    subject, *peers = result.runs
    return asdict(result) | {
        "tokens_per_s": {engine: result.rates(engine) for engine in result.runs},
        "ratios": {peer: result.ratios(subject, peer) for peer in peers},
    }


def as_markdown(machine: Machine, model: Model, results: Sequence[Comparison]) -> str:
    subject, *peers = results[0].runs
    formats = ", ".join(f"{fmt} {n_bytes / 1e6:.0f} MB" for fmt, n_bytes in model.formats.items())
    columns = ["case", "threads", subject]
    for peer in peers:
        columns += [peer, f"{subject} / {peer}"]
    columns.append("of read bandwidth")
    lines = [
        f"Machine: {machine.processor}, {machine.n_cpus} processors, {machine.memory_gb:.0f} GB, {machine.system}.",
        f"Model: {model.file}, architecture {model.architecture}, {formats}.",
        *(f"Engine: {version}." for version in results[0].versions.values()),
        *(
            f"Read bandwidth before each pair of {result.case.name}, {result.n_threads} threads, in GB/s: "
            f"{_spread([rate / 1e9 for rate in result.bandwidth], 1)}."
            for result in results
            if result.bandwidth
        ),
        "",
        "Tokens per second as minimum / median / maximum over the runs; ratios are taken within a pair.",
        "",
        "| " + " | ".join(columns) + " |",
        "| --- |" + " ---: |" * (len(columns) - 1),
    ]
    for result in results:
        cells = [result.case.name, str(result.n_threads), _spread(result.rates(subject), 2)]
        for peer in peers:
            cells += [_spread(result.rates(peer), 2), _spread(result.ratios(subject, peer), 3)]
        if result.bandwidth:
            pairs = zip(result.rates(subject), result.bandwidth, strict=True)
            cells.append(f"{statistics.median(rate * model.n_bytes_per_token / most for rate, most in pairs):.0%}")
        else:
            cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    lines += [*_latency(results), *_slopes(results), "", *_doubts(machine, results)]
    return "\n".join(lines).rstrip() + "\n"


def _latency(results: Sequence[Comparison]) -> list[str]:
    """Slow tokens of long decodes: milliseconds, as medians over the runs, less what they grow with the context."""
    lines = []
    for result in results:
        if result.case.kind != "decode" or result.case.n_tokens < _LEAST_TOKENS:
            continue
        subject = next(iter(result.runs))
        excess = {engine: [TokenTimes.of(run).excess for run in runs] for engine, runs in result.runs.items()}
        for engine, runs in result.runs.items():
            times = [TokenTimes.of(run) for run in runs]
            cells = [result.case.name, str(result.n_threads), engine]
            for values in ([t.p50 for t in times], [t.p99 for t in times], [t.largest for t in times], excess[engine]):
                cells.append(f"{1e3 * statistics.median(values):.2f}")
            pairs = zip(excess[subject], excess[engine], strict=True)
            cells.append("" if engine == subject else f"{statistics.median(s / p for s, p in pairs):.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    if not lines:
        return []
    head = "| case | threads | engine | p50 | p99 | largest | p99 - p50 | ours / theirs |"
    return ["", "Milliseconds of a token, growth with the context taken out.", "", head, _rule(3, 5), *lines]


def _slopes(results: Sequence[Comparison]) -> list[str]:
    """How much longer a token takes for every 1,000 positions, from decodes at two depths or more."""
    lines = []
    for n_threads in dict.fromkeys(result.n_threads for result in results):
        decodes = [r for r in results if r.n_threads == n_threads and r.case.kind == "decode" and not r.case.is_busy]
        if len({r.case.depth for r in decodes}) < 2:
            continue
        near, far = min(decodes, key=lambda r: r.case.depth), max(decodes, key=lambda r: r.case.depth)
        for engine in near.runs:
            pairs = zip(near.runs[engine], far.runs[engine], strict=True)
            grown = [statistics.median(b.seconds) - statistics.median(a.seconds) for a, b in pairs]
            slope = [1e6 * seconds / (far.case.depth - near.case.depth) for seconds in grown]
            lines.append(f"| {near.case.depth} to {far.case.depth} | {n_threads} | {engine} | {_spread(slope, 2)} |")
    if not lines:
        return []
    head = "| depths | threads | engine | milliseconds per 1,000 positions |"
    return ["", "Growth of a token's time with the context.", "", head, _rule(3, 1), *lines]


def _rule(n_left: int, n_right: int) -> str:
    return "|" + " --- |" * n_left + " ---: |" * n_right


def _doubts(machine: Machine, results: Sequence[Comparison]) -> list[str]:
    """What may have disturbed the figures, in words; nothing if nothing did."""
    lines = []
    for result in results:
        if result.case.is_busy:
            continue
        for engine, runs in result.runs.items():
            where = f"during {result.case.name} at {result.n_threads} threads, {engine}"
            available = sum(run.wall_s for run in runs) * machine.n_cpus
            if available < _LEAST_SECONDS:
                continue
            for who, used in (
                ("other processes", sum(run.foreign_s for run in runs)),
                ("the waiting engines", sum(run.idle_peers_s for run in runs)),
            ):
                if used / available > _DOUBTFUL_SHARE:
                    lines.append(f"- Disturbed: {where}, {who} used {used / available:.0%} of the machine.")
    return lines


def _spread(values: Sequence[float], digits: int) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in spread(values))
