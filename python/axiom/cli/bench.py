"""`axiom bench`: measure the speed of prefill and decode."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING, Any

import click

from axiom.cli.options import COUNT, longer_context, open_runtime, runtime_options
from axiom.cli.terminal import ProgressLine, echo_json, format_bytes, printable

if TYPE_CHECKING:
    from axiom.runtime import Runtime

__all__ = ["command"]


def _numbers(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    try:
        numbers = sorted({int(word) for word in text.split(",")})
    except ValueError:
        numbers = [-1]
    if numbers[0] < 0:
        raise click.BadParameter(f"expected numbers with commas between, such as 0,512,2048, got {text!r}")
    return numbers


@click.command("bench")
@runtime_options
@click.option(
    "--prefill",
    "n_prefill",
    type=click.IntRange(0),
    metavar="N",
    default=512,
    show_default=True,
    help="Tokens of a prefill; 0 for none.",
)
@click.option(
    "--decode",
    "n_decode",
    type=click.IntRange(0),
    metavar="N",
    default=32,
    show_default=True,
    help="Tokens of a decode; 0 for none.",
)
@click.option(
    "--depths",
    default="0",
    show_default=True,
    callback=_numbers,
    metavar="N,N…",
    help="Positions before it begins, with commas between.",
)
@click.option(
    "--batch", "n_batch", type=COUNT, metavar="N", default=1, show_default=True, help="Sequences that decode together."
)
@click.option(
    "--repeat", "n_repeat", type=COUNT, metavar="N", default=5, show_default=True, help="Times that each is measured."
)
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["md", "csv", "json"]),
    default="md",
    show_default=True,
    help="How to print.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(
    n_prefill: int,
    n_decode: int,
    depths: list[int],
    n_batch: int,
    n_repeat: int,
    as_format: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure tokens per second of prefill and decode: minimum, median and maximum over the repetitions.

    Each repetition goes through all tests in turn, so that a slow spell of the machine falls on all alike. Beside them
    stands how fast this machine reads memory from front to back, and how fast decoding reads weights, each once in a
    step: about the most that it can, except for a model that fits into the processor's caches.
    """
    if not n_prefill and not n_decode:
        raise click.UsageError("there is nothing to measure: give --prefill or --decode above 0")
    with _open(options, n_batch) as runtime:
        threads = runtime.engine.info()["threads"]
        tests = [("prefill", depth, n_prefill) for depth in depths if n_prefill]
        tests += [("decode", depth, n_decode) for depth in depths if n_decode]
        for name, depth, n in tests:
            if depth + n > runtime.n_ctx:
                raise ValueError(
                    f"{name} of {n} tokens after {depth} needs {depth + n} positions, the context has {runtime.n_ctx}; "
                    f"use fewer, or {longer_context(runtime)}"
                )
        speeds: dict[tuple[str, int, int], list[float]] = {test: [] for test in tests}
        bandwidths: list[float] = []
        n_steps, done = (n_repeat + 1) * len(tests), 0
        with ProgressLine("measuring") as progress:
            # The first round warms caches and clocks, and is not counted.
            for round_idx in range(n_repeat + 1):
                for test in tests:
                    speed = _measure(runtime, *test, n_batch if test[0] == "decode" else 1)
                    if round_idx:
                        speeds[test].append(speed)
                    done += 1
                    progress(done, n_steps)
                if round_idx:
                    bandwidths += _bandwidth(threads)
        report = _report(runtime, threads, n_batch, speeds, bandwidths)
    if as_json or as_format == "json":
        echo_json(report)
    else:
        click.echo(_markdown(report) if as_format == "md" else _csv(report), nl=False)


def _open(options: dict[str, Any], n_batch: int) -> Runtime:
    from axiom.errors import MemoryBudgetError

    try:
        return open_runtime(options, n_seq_max=n_batch)
    except MemoryBudgetError as error:
        if n_batch == 1:
            raise
        # Its words are those of the library, which knows no --batch.
        raise MemoryBudgetError(f"--batch {n_batch}: {error}") from None


def _measure(runtime: Runtime, name: str, depth: int, n_tokens: int, n_batch: int) -> float:
    """Return tokens per second of one test. Which tokens they are makes no difference to the speed."""
    from axiom.generation.loop import CHUNK_TOKENS

    n_vocab = runtime.config.n_vocab
    engine = runtime.engine
    held = [engine.open_sequence() for _ in range(n_batch)]
    seqs = [sequence.number for sequence in held]
    try:
        tokens = [(7919 * i + 11) % n_vocab for i in range(depth + n_tokens)]
        for seq in seqs:
            for start in range(0, depth, CHUNK_TOKENS):
                engine.forward([seq], [tokens[start : min(depth, start + CHUNK_TOKENS)]], "none")
        begin = time.perf_counter()
        if name == "prefill":
            for start in range(depth, depth + n_tokens, CHUNK_TOKENS):
                last = start + CHUNK_TOKENS >= depth + n_tokens
                engine.forward(seqs, [tokens[start : start + CHUNK_TOKENS]], "last" if last else "none")
        else:
            for i in range(n_tokens):
                engine.forward(seqs, [[tokens[depth + i]]] * n_batch, "last")
        return n_batch * n_tokens / (time.perf_counter() - begin)
    finally:
        for sequence in held:
            sequence.close()


def _bandwidth(threads: int) -> list[float]:
    """Measure bytes read per second, if the extension is there to do it."""
    try:
        from axiom import _native
    except ImportError:
        return []
    return [_native.read_bandwidth(threads)]


def _report(
    runtime: Runtime,
    threads: int,
    n_batch: int,
    speeds: dict[tuple[str, int, int], list[float]],
    bandwidths: list[float],
) -> dict[str, Any]:
    bandwidth = sorted(bandwidths)[len(bandwidths) // 2] if bandwidths else None
    n_bytes = runtime.config.weight_bytes
    results = []
    for (name, depth, n_tokens), measured in speeds.items():
        ordered = sorted(measured)
        median = ordered[len(ordered) // 2]
        # One step reads all weights once, for all sequences of the batch.
        rate = median / n_batch * n_bytes if name == "decode" else None
        result = {
            "test": name,
            "depth": depth,
            "n_tokens": n_tokens,
            "n_batch": n_batch if name == "decode" else 1,
            "min": ordered[0],
            "median": median,
            "max": ordered[-1],
            "n_repeat": len(ordered),
            "weight_bytes_per_s": rate,
            "of_bandwidth": rate / bandwidth if rate is not None and bandwidth is not None else None,
        }
        results.append(result)
    return {
        "model": runtime.gguf.path.name,
        "weight_bytes": n_bytes,
        "info": runtime.engine.info(),
        "threads": threads,
        "read_bandwidth_bytes_per_s": bandwidth,
        "results": results,
    }


def _markdown(report: dict[str, Any]) -> str:
    bandwidth = report["read_bandwidth_bytes_per_s"]
    rows = [["test", "depth", "tokens", "batch", "min", "median", "max", "GB/s", "share"]]
    for row in report["results"]:
        rate = "" if row["weight_bytes_per_s"] is None else f"{row['weight_bytes_per_s'] / 1e9:.1f}"
        share = "" if row["of_bandwidth"] is None else f"{100 * row['of_bandwidth']:.0f} %"
        counts = [str(row[name]) for name in ("depth", "n_tokens", "n_batch")]
        speeds = [f"{row[name]:.{2 if row['max'] < 1000 else 0}f}" for name in ("min", "median", "max")]
        rows.append([row["test"], *counts, *speeds, rate, share])
    # In columns for people too, and no wider than a terminal of 80.
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    table = [
        " | ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    about = [
        f"{report['model']}, {format_bytes(report['weight_bytes'])} of weights, "
        f"{report['info']['kernels']} kernels, {report['threads']} threads",
        "reading memory: " + ("not measured" if bandwidth is None else f"{bandwidth / 1e9:.1f} GB/s"),
        "below: tokens per second; weights read in GB/s, and their share of that speed",
        "",
    ]
    return "\n".join([*(printable(line) for line in about), *(f"| {line} |" for line in table)]) + "\n"


def _csv(report: dict[str, Any]) -> str:
    out = io.StringIO()
    common = {
        "model": report["model"],
        "weight_bytes": report["weight_bytes"],
        "kernels": report["info"]["kernels"],
        "threads": report["threads"],
        "read_bandwidth_bytes_per_s": report["read_bandwidth_bytes_per_s"],
    }
    rows = [{**common, **row} for row in report["results"]]
    names = list(rows[0]) if rows else list(common)
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
