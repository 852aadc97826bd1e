"""Children of a `fork` compute where the parent was at rest, and never wait for a thread that they do not have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backends import BACKENDS
from tests.models import SMALLEST

MODEL = SMALLEST | {"n_ctx": 64}
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PROGRAM = """
import os, signal, sys, threading
import axiom

runtime = axiom.Runtime(sys.argv[1], backend=sys.argv[2], threads=2, n_ctx=64, n_seq_max=2)
expected = runtime.generate([5, 6], max_tokens=3, seed=1).tokens

def in_a_child(action):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            status = 0 if action() else 1
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0

def is_right():
    return runtime.generate([5, 6], max_tokens=3, seed=1).tokens == expected

def is_told():
    try:
        runtime.generate([5, 6], max_tokens=3, seed=1)
    except RuntimeError as error:
        is_known = "forked while another thread computed" in str(error)
        runtime.close()
        return is_known
    return False

def opens_another():
    with axiom.Runtime(sys.argv[1], backend=sys.argv[2], threads=2, n_ctx=64, n_seq_max=2) as another:
        return another.generate([5, 6], max_tokens=3, seed=1).tokens == expected

assert in_a_child(is_right)
inside, go_on = threading.Event(), threading.Event()
thread = threading.Thread(target=runtime.engine.call, args=(lambda engine: (inside.set(), go_on.wait(60)),))
thread.start()
inside.wait()
assert in_a_child(is_told)
assert in_a_child(opens_another)
go_on.set()
thread.join()
assert in_a_child(is_right) and is_right()
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_child_computes_or_is_told_why_not(random_model: Callable[..., Path], backend: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(random_model(**MODEL)), backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
