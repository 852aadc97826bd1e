"""`make bench`: the comparison with llama.cpp on TinyLlama-1.1B's shape, in two formats.

    python -m benches [--pairs 7] [--threads 1,2] [--folder target/bench]

Models and single runs are kept in the folder; a model that is there is not written again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benches.shapes import write_shape

MODELS = (("tinyllama-1.1b", "Q4_0"), ("tinyllama-1.1b", "Q4_K_M"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches", description="Compares axiom with llama.cpp in speed.")
    parser.add_argument("--folder", type=Path, default=Path("target/bench"), help="for models and results")
    parser.add_argument("--pairs", default="7")
    parser.add_argument("--threads", default="1,2")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for shape, fmt in MODELS:
        model = args.folder / f"{shape}-{fmt}.gguf"
        if not model.exists():
            # Renamed last, so that a broken-off file is never timed.
            write_shape(shape, fmt, model.with_suffix(".part")).rename(model)
        command = [sys.executable, "-m", "benches.peers", "--model", str(model)]
        command += ["--pairs", args.pairs, "--threads", args.threads, "--json", str(model.with_suffix(".json"))]
        subprocess.run(command, check=True)
        print()


if __name__ == "__main__":
    main()
