"""The measured figures as a Markdown table or as JSON with every single run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.peers.machine import Machine
from benches.peers.measure import Comparison, spread

# More than this share of the machine's time used by others makes a run doubtful, and the table says so.
_DOUBTFUL_SHARE = 0.05
# The system counts processor time in steps of 10 ms; shares of less time than this say nothing.
_LEAST_SECONDS = 0.5


@dataclass(frozen=True)
class Model:
    file: str
    architecture: str
    formats: dict[str, int]
    """Bytes of the tensors of each format."""
    n_bytes_per_token: int
    """Weights that decoding one token has to read: all, but of an untied embedding one row."""


def as_json(machine: Machine, model: Model, bandwidth: dict[int, float | None], results: Sequence[Comparison]) -> str:
    return json.dumps(
        {
            "machine": asdict(machine),
            "model": asdict(model),
            "read_bandwidth_bytes_per_s": bandwidth,
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


def as_markdown(
    machine: Machine, model: Model, bandwidth: dict[int, float | None], results: Sequence[Comparison]
) -> str:
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
        "Read bandwidth: " + "; ".join(f"{n} threads {_gb(rate)}" for n, rate in bandwidth.items()) + ".",
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
        rate = bandwidth.get(result.n_threads)
        if result.case.kind == "decode" and rate:
            used = statistics.median(result.rates(subject)) * model.n_bytes_per_token
            cells.append(f"{used / rate:.0%}")
        else:
            cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *_doubts(machine, results)]
    return "\n".join(lines).rstrip() + "\n"


def _doubts(machine: Machine, results: Sequence[Comparison]) -> list[str]:
    """What may have disturbed the figures, in words; nothing if nothing did."""
    lines = []
    for result in results:
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


def _gb(rate: float | None) -> str:
    return f"{rate / 1e9:.1f} GB/s" if rate else "not measured"
