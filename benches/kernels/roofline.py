"""The roofline of this processor, and where every kernel lies under it.

    pip install pytest pytest-benchmark matplotlib
    python -m benches.kernels.roofline --out roofline.png --json roofline.json

Left to right: multiplications for every byte read; upwards: multiplications in a second. A kernel can be no higher than
the slope, which is the measured read bandwidth of one thread, and no higher than the flat roof of its kind of numbers,
which is what the multipliers of the table's registers can start in a cycle, times the measured clock. One row of
activations reads its weights from memory, as decoding does; more rows find them in the caches, as prompts do, and the
slope says what they could reach from memory. Products of quantised weights count pairs of bytes; plain weights and
attention, whose numbers are f32 and are multiplied and added apart, have the lower roof.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from axiom import _native as native

FORMATS = ("Q4_0", "Q8_0", "Q4_K", "Q6_K", "Q4_1", "Q5_0", "Q5_1", "Q5_K", "Q2_K", "Q3_K", "F16", "BF16", "F32")
PLAIN = ("F16", "BF16", "F32")
ROWS = (1, 8, 64)
QUERIES = (1, 8, 64)
N_COL, HEAD_DIM = 2048, 64
FROM_MEMORY, FROM_CACHE = 128 << 20, 192 << 10
N_ROUND = 7
# Multiplications that a core starts in a cycle with two multipliers of the table's registers: of bytes, and of f32.
# SSE2 has no products of bytes, it multiplies them in 16 bits.
PEAK = {"avx512": (128, 32), "avxvnni": (64, 16), "avx2": (64, 16), "sse2": (16, 8)}


@dataclass(frozen=True)
class Point:
    table: str
    kernel: str
    n_row: int
    gb_per_s: float
    gmac_per_s: float
    mac_per_byte: float
    limit_gmac_per_s: float
    """The lower of slope and roof."""

    @property
    def share(self) -> float:
        return self.gmac_per_s / self.limit_gmac_per_s


@dataclass(frozen=True)
class Machine:
    clock_hz: float
    read_bytes_per_s: float

    def roof(self, table: str, is_plain: bool) -> float:
        """Multiplications in a second."""
        return PEAK[table][is_plain] * self.clock_hz


def measure(machine: Machine, table: str, kernel: str, n_row: int, work: Any, is_plain: bool) -> Point:
    # The fastest of several rounds, each long enough for the clock: what the kernel takes, whatever else was going on.
    work.run()
    started = time.perf_counter()
    work.run()
    n_run = max(1, int(0.01 / (time.perf_counter() - started)))
    seconds = []
    for _ in range(N_ROUND):
        started = time.perf_counter()
        for _ in range(n_run):
            work.run()
        seconds.append((time.perf_counter() - started) / n_run)
    took = min(seconds)
    intensity = work.n_product / work.n_bytes
    limit = machine.roof(table, is_plain)
    if n_row == 1:
        limit = min(limit, intensity * machine.read_bytes_per_s)
    rates = work.n_bytes / took / 1e9, work.n_product / took / 1e9
    return Point(table, kernel, n_row, *rates, intensity, limit / 1e9)


def products(machine: Machine, table: str, formats: Sequence[str]) -> list[Point]:
    points = []
    for fmt in formats:
        one = native.testing.Product(table, fmt, 1, N_COL, 1)
        for n_row in ROWS:
            n_bytes = FROM_MEMORY if n_row == 1 else FROM_CACHE
            work = native.testing.Product(table, fmt, max(4, n_bytes // one.n_bytes), N_COL, n_row)
            points.append(measure(machine, table, fmt, n_row, work, fmt in PLAIN))
    return points


def attention(machine: Machine, table: str) -> list[Point]:
    points = []
    for kv in ("f16", "f32"):
        one = native.testing.AttentionTiles(table, kv, 1, HEAD_DIM, 1)
        for n_query in QUERIES:
            n_bytes = FROM_MEMORY if n_query == 1 else FROM_CACHE
            work = native.testing.AttentionTiles(table, kv, max(4, n_bytes // one.n_bytes), HEAD_DIM, n_query)
            points.append(measure(machine, table, f"attention {kv}", n_query, work, True))
    return points


def draw(machine: Machine, points: Sequence[Point], out: Path) -> None:
    """One panel for each table."""
    from matplotlib.figure import Figure

    tables = list(dict.fromkeys(point.table for point in points))
    figure = Figure(figsize=(7.5 * len(tables), 7), layout="constrained")
    for i, table in enumerate(tables):
        axes = figure.add_subplot(1, len(tables), i + 1)
        mine = [point for point in points if point.table == table]
        low, high = 0.15, 400.0
        for is_plain, style, what in ((False, "-", "bytes"), (True, "--", "f32")):
            roof = machine.roof(table, is_plain)
            knee = roof / machine.read_bytes_per_s
            height = [low * machine.read_bytes_per_s / 1e9, roof / 1e9, roof / 1e9]
            axes.plot([low, knee, high], height, style, color="black", linewidth=1)
            axes.text(high * 0.9, roof / 1e9 * 1.04, f"{what}: {roof / 1e9:.0f}", horizontalalignment="right")
        kernels = list(dict.fromkeys(point.kernel for point in mine))
        for k, kernel in enumerate(kernels):
            line = sorted((p for p in mine if p.kernel == kernel), key=lambda point: point.n_row)
            axes.plot(
                [p.mac_per_byte for p in line], [p.gmac_per_s for p in line], "-", marker="osD^v<>p*hXP"[k % 12],
                color=f"C{k % 10}", linewidth=0.6, markersize=6, label=kernel,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(0.8, 600))
        axes.set_xlabel("multiplications for every byte of weights, or of keys and values")
        axes.set_ylabel("10^9 multiplications in a second, one thread")
        axes.set_title(f"{table}: 1, 8 and 64 rows; slope {machine.read_bytes_per_s / 1e9:.1f} GB/s of memory")
        axes.grid(which="both", linewidth=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), ncols=8, loc="outside lower center")
    figure.savefig(out, dpi=110)


def as_markdown(points: Sequence[Point]) -> str:
    lines = ["| table | kernel | rows | GB/s | GMAC/s | of the limit |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for p in points:
        rates = f"{p.gb_per_s:.1f} | {p.gmac_per_s:.1f} | {p.share:.0%}"
        lines.append(f"| {p.table} | {p.kernel} | {p.n_row} | {rates} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.kernels.roofline", description=__doc__.split("\n\n")[0])
    usable = [table for table in native.testing.kernels.tables() if table in PEAK]
    parser.add_argument("--tables", default=",".join(usable), help="with commas between; by default all of these")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw it")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    tables = args.tables.split(",")
    if unknown := [table for table in tables if table not in usable]:
        parser.error(f"no table {', '.join(unknown)} here; one of {', '.join(usable)}")
    machine = Machine(native.testing.clock_hz(), native.read_bandwidth(1))
    points = []
    for table in tables:
        points += products(machine, table, args.formats.split(",")) + attention(machine, table)
    print(f"Clock {machine.clock_hz / 1e9:.2f} GHz, one thread reads {machine.read_bytes_per_s / 1e9:.1f} GB/s.\n")
    print(as_markdown(points))
    if args.json:
        written = {"machine": asdict(machine), "points": [asdict(p) | {"share": p.share} for p in points]}
        args.json.write_text(json.dumps(written, indent=2) + "\n")
    if args.out:
        draw(machine, points, args.out)


if __name__ == "__main__":
    main()
