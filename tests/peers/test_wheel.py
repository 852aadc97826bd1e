"""The wheel as users install it: with the bare kernel inside, and without the clone that it was built in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import axiom
from axiom.bare.kernel import BareError, kernel_file
from axiom.bare.qemu import find_qemu

PACKAGE = Path(axiom.__file__).parent
CLONE = Path(__file__).parents[2]

if not PACKAGE.is_relative_to(sys.prefix):
    pytest.skip("axiom is not installed from a wheel; `make test-peers` does that", allow_module_level=True)

KERNEL = CLONE / "python" / "axiom" / "bare" / "axiom-kernel.elf"
needs_kernel = pytest.mark.skipif(not KERNEL.exists(), reason="the bare kernel is built on 64-bit x86 alone")


def run(folder: Path, *command: str) -> str:
    """What a program of the installation writes, far from the clone and without a compiler."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": "/usr/bin:/bin"
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done
    return done.stdout


@needs_kernel
def test_it_holds_the_kernel() -> None:
    assert kernel_file().is_relative_to(PACKAGE)
    assert kernel_file().read_bytes() == KERNEL.read_bytes()


@needs_kernel
def test_it_boots(tmp_path: Path) -> None:
    try:
        find_qemu()
    except BareError as error:
        pytest.skip(str(error))
    cli = ["-c", "from axiom.cli import main; main()"]
    text = run(tmp_path, *cli, "boot", "--prompt", "Once upon a time", "-n", "8")
    assert "0 after" in text
    assert "axiom: receipt " in text
    code = """
import axiom
for backend in ("native", "bare"):
    with axiom.Runtime(backend=backend) as runtime:
        print(runtime.generate("Once upon a time", max_tokens=8, seed=3, receipt=True).receipt.links[-1])
"""
    native, bare = run(tmp_path, "-c", code).split()
    assert native == bare
