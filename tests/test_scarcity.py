"""What the system refuses is told with the name of the file, and with what it was wanted for."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import axiom
from tests.models import SMALLEST

pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are set and counted as Linux does it")

FILES = """
import os, resource, sys
import axiom
axiom.Runtime(sys.argv[1]).close()
n_open = len(os.listdir("/proc/self/fd")) - 1
for n_more in range(9):
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + n_more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        axiom.Runtime(sys.argv[1]).close()
        break
    except OSError as error:
        print(error.errno, error.filename)
"""

# Less memory than the stacks of some threads is refused as a limit on threads is.
THREADS = """
import resource, sys
import axiom
import axiom._native, axiom.reference.image.layout, axiom.runtime
n_bytes = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (4 << 20)
resource.setrlimit(resource.RLIMIT_AS, (n_bytes, n_bytes))
try:
    axiom.Runtime(sys.argv[1], n_seq_max=1, n_ctx=64, threads=2)
except OSError as error:
    print(error)
"""


@pytest.fixture(scope="module", params=["gguf", "axiom"])
def model(
    request: pytest.FixtureRequest, random_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    gguf = random_model(**SMALLEST)
    return gguf if request.param == "gguf" else axiom.pack(gguf, tmp_path_factory.mktemp("image") / "model.axiom")


def told(program: str, model: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program, str(model)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_too_many_open_files(model: Path) -> None:
    lines = told(FILES, model)
    assert len(lines) > 1
    assert set(lines) == {f"{errno.EMFILE} {model}"}


def test_threads_that_cannot_be_started(random_model: Callable[..., Path], tmp_path: Path) -> None:
    image = axiom.pack(random_model(**SMALLEST), tmp_path / "model.axiom")
    (line,) = told(THREADS, image)
    assert line.startswith(f"{image}: cannot start the threads that read it: ")
