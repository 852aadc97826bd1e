"""From the start of a process to its first token: axiom from an image and from a GGUF, llama.cpp from the GGUF.

    python -m benches.peers.startup --model model.gguf --pairs 7

Every run is a new process that loads the model, reads a prompt of 8 tokens and prints the next one; the time is that
from before the process is started until the line arrives. The engines follow each other in every possible order, since
a run may find memory that the one before has left. Each file is read once before each run, so that it is in the
system's cache; with `--cold` it is dropped from there instead and comes from the disk. llama.cpp runs as a program in
C, which is compiled here against the library of llama-cpp-python, so that no interpreter's start counts against it;
axiom runs in Python, as its users have it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from axiom.model_file.gguf_file import GGUFFile

FOLDER = Path(__file__).parent
N_PROMPT = 8


def build_llama(folder: Path) -> Path:
    """Compiles first_token.c against the installed llama.cpp."""
    packages = Path(sysconfig.get_path("purelib"))
    libraries, program = packages / "llama_cpp" / "lib", folder / "first_token"
    command = ["cc", "-O2", "-o", program, FOLDER / "first_token.c", f"-I{packages / 'include'}", f"-L{libraries}"]
    subprocess.run([*command, "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{libraries}"], check=True)
    return program


def prepare(file: Path, is_cold: bool) -> None:
    """Brings `file` into the system's cache, or drops it from there."""
    with file.open("rb", buffering=0) as content:
        if is_cold:
            os.fsync(content)  # pages that are still to be written cannot be dropped
            os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            return
        while content.read(8 << 20):
            pass


def time_to_line(command: list[str], file: Path, is_cold: bool = False) -> tuple[float, str]:
    """Seconds until the first line of its output, and the line."""
    prepare(file, is_cold)
    # With compiled modules, as an installed package has them; the first run of a source tree writes them.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with status {process.returncode}")
    return seconds, line.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.peers.startup", description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--image", type=Path, help="the same model packed (by default it is packed for the occasion)")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--cold", action="store_true", help="read each file from the disk, not from the system's cache")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single run to FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = args.image or Path(folder) / "model.axiom"
        if args.image is None:
            subprocess.run(
                [sys.executable, "-c", "from axiom.cli import main; main()", "pack", args.model, image], check=True
            )
        embedding = GGUFFile(args.model).tensors["token_embd.weight"]
        tokens = [str(token) for token in random.Random(0).choices(range(embedding.shape[0]), k=N_PROMPT)]
        axiom = [sys.executable, str(FOLDER / "first_token.py")]
        llama = [str(build_llama(Path(folder)))]
        programs = {
            "axiom, image": ([*axiom, str(image), args.threads, *tokens], image),
            "axiom, GGUF": ([*axiom, str(args.model), args.threads, *tokens], args.model),
            "llama.cpp, GGUF": ([*llama, str(args.model), args.threads, *tokens], args.model),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        lines: dict[str, str] = {}
        for name in programs:
            _, lines[name] = time_to_line(*programs[name])  # the program itself comes into the cache
        if lines["axiom, image"] != lines["axiom, GGUF"]:
            raise RuntimeError(f"image and GGUF give different tokens: {lines}")
        for _, order in zip(range(args.pairs), itertools.cycle(itertools.permutations(programs)), strict=False):
            for name in order:
                seconds[name].append(time_to_line(*programs[name], args.cold)[0])
    peer = seconds["llama.cpp, GGUF"]
    print(
        f"Process start to first token, {args.model.name}, {args.threads} threads, {os.cpu_count()} processors, "
        f"files {'on disk' if args.cold else 'in the cache'}.\n"
    )
    print("| engine | seconds: minimum / median / maximum | of llama.cpp's, median of pairs |\n| --- | --- | ---: |")
    for name, runs in seconds.items():
        share = statistics.median(run / other for run, other in zip(runs, peer, strict=True))
        spread = " / ".join(f"{value:.3f}" for value in (min(runs), statistics.median(runs), max(runs)))
        print(f"| {name} | {spread} | {share:.2f} |")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=2) + "\n")


if __name__ == "__main__":
    main()
