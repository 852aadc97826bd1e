"""The command line as users run it: in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from tests.models import SMALL

MODEL = SMALL | {"n_layer": 1, "n_ctx": 2048}
RUN = [sys.executable, "-c", "import sys; sys.argv[0] = 'axiom'; from axiom.cli import main; main()"]
REFERENCE = ["--backend", "reference"]
# The environment of a locale that says nothing of UTF-8, and of a Python that believes it.
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def axiom(*args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AXIOM_")}
    return subprocess.run(
        [*RUN, *args], input=stdin, capture_output=True, text=True, timeout=120, env={**clean, **env}, check=False
    )


def axiom_bytes(*args: str | bytes, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*RUN, *args], input=stdin, capture_output=True, timeout=120, env={**os.environ, **env})


def printed(*args: str, **kwargs: Any) -> str:
    done = axiom(*args, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


def start_at(terminal: int, *args: str) -> subprocess.Popen[bytes]:
    """Start it at a terminal, from which it hears Ctrl-C."""
    return subprocess.Popen([*RUN, *args], stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=heed_ctrl_c)


def heed_ctrl_c() -> None:
    """A shell starts what it sends to the background with Ctrl-C ignored; a terminal's programs have it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
