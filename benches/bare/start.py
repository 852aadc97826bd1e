"""From QEMU's start to the first byte on the serial line, and to the first token of the default model."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from axiom.bare.qemu import Machine, accelerator, command
from axiom.image_writer import pack
from axiom.model_file.model_file import default_model_path
from benches.bare.guest import OPTIONS, spread


def one(machine: Machine) -> tuple[float, float]:
    """Milliseconds to each."""
    start = time.perf_counter()
    with subprocess.Popen(command(machine), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        first_byte = time.perf_counter() - start
        for line in process.stdout:
            if line.startswith(b"axiom: token "):
                break
        first_token = time.perf_counter() - start
        process.stdout.read()
    return 1e3 * first_byte, 1e3 * first_token


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = pack(default_model_path(), Path(folder) / "model.axiom")
        for kind in dict.fromkeys([accelerator(), "tcg"]):
            machine = Machine({**OPTIONS, "tokens": "4"}, module=image, memory_mib=256, accelerator=kind)
            first_byte, first_token = zip(*(one(machine) for _ in range(runs)), strict=True)
            print(f"microvm, {kind}, {runs} starts, ms, minimum / median / maximum:")
            print(f"  first byte {spread(first_byte)}, first token {spread(first_token)}", flush=True)
