"""Compares both engines on a model that is larger than the memory they get.

    python -m benches.streaming --model 7b.gguf --image 7b.axiom --limit 2GiB --pairs 7 [--cases one,eight]

Each run is a process of its own in a control group with that limit (which takes the rights of root): axiom with the
image, llama.cpp with the GGUF and its memory map, in alternation. Before and after its tokens an axiom run measures the
disk with the same requests; its share is what it reached of the ceiling: the bytes streamed over that rate, or, for a
prompt, the larger of that and of the time that its layers compute.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from axiom.hardware import parse_memory
from benches.streaming.group import MemoryGroup

CASES = {
    "one": "one sequence",
    "eight": "eight sequences",
    "repetitive": "one sequence, repetitive text",
    "prefill": "prompt of 256",
}
# Cases that llama.cpp is timed in too. The others are held against the ceiling alone.
COMPARED = ("one", "eight")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.streaming", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, metavar="GGUF", help="for llama.cpp")
    parser.add_argument("--image", type=Path, required=True, metavar="AXIOM", help="the same, packed")
    parser.add_argument("--limit", default="2GiB", metavar="SIZE", help="of the control group; default 2GiB")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--peer-python", default=sys.executable, help="of an environment that has llama_cpp")
    parser.add_argument("--json", type=Path, help="where every run goes; one that is there is continued")
    args = parser.parse_args()
    limit = parse_memory(args.limit)
    runs: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        runs = json.loads(args.json.read_text())
    for case in args.cases.split(","):
        for pair_idx in range(args.pairs):
            pair = {}
            engines = ("axiom", "llama.cpp") if case in COMPARED else ("axiom",)
            for engine in engines if pair_idx % 2 == 0 else reversed(engines):
                drop_from_cache(args.image if engine == "axiom" else args.model)
                with MemoryGroup("axiom-bench", limit) as group:
                    pair[engine] = run(engine, case, args, limit, group)
                    pair[engine]["peak_mib"] = group.peak_bytes() / (1 << 20)
            runs.append({"case": case, **pair})
            print(line(runs[-1]), file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(runs, indent=1))
    report(runs, args.limit)


def drop_from_cache(file: Path) -> None:
    """Every run begins with its model on the disk."""
    with file.open("rb") as content:
        os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(engine: str, case: str, args: argparse.Namespace, limit: int, group: MemoryGroup) -> dict[str, Any]:
    """One process: what its last line says."""
    is_axiom = engine == "axiom"
    python = sys.executable if is_axiom else args.peer_python
    model = args.image if is_axiom else args.model
    command = [python, "-m", f"benches.streaming.{'ours' if is_axiom else 'peer'}", str(model), case]
    command += [str(args.threads), str(limit), str(group.tasks)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{engine}, {case}: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def line(run: dict[str, Any]) -> str:
    """A pair, while it goes on."""
    parts = [f"{name} {run[name]['rate']:.3f}/s" for name in ("axiom", "llama.cpp") if name in run]
    return f"{run['case']}: {', '.join(parts)}, share {run['axiom']['share']:.2f}"


def report(runs: list[dict[str, Any]], limit: str) -> None:
    """The table."""
    heads = [
        limit,
        "axiom /s",
        "llama.cpp /s",
        "ratio: min / median / max",
        "share of ceiling",
        "peak MiB",
        "tokens a pass",
    ]
    print(f"| {' | '.join(heads)} |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case, name in CASES.items():
        some = [run for run in runs if run["case"] == case]
        if not some:
            continue
        ours = [run["axiom"] for run in some]
        cells = [f"{median(run['rate'] for run in ours):.3f}"]
        ratios = sorted(run["axiom"]["rate"] / run["llama.cpp"]["rate"] for run in some if "llama.cpp" in run)
        if ratios:
            cells.append(f"{median(run['llama.cpp']['rate'] for run in some):.3f}")
            cells.append(f"{ratios[0]:.2f} / {median(ratios):.2f} / {ratios[-1]:.2f}")
        else:
            cells += ["", ""]
        shares = sorted(run["share"] for run in ours)
        cells.append(f"{shares[0]:.2f} / {median(shares):.2f} / {shares[-1]:.2f}")
        cells.append(f"{max(run['peak_mib'] for run in ours):.0f}")
        cells.append(f"{median(run['tokens_per_pass'] for run in ours):.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
