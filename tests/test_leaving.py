"""A program ends while daemon threads of it are inside of the extension: with its own exit code, and no word."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import axiom, sys, threading, time
{setup}
def work():
    while True:
        {call}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep({seconds})
sys.exit(3)
"""


@pytest.mark.parametrize(
    ("setup", "call"),
    [
        ("model = axiom.Runtime()", "model.generate('x', max_tokens=50)"),
        ("model = axiom.Runtime()", "model.logits([1] * 300)"),
        ("text = 'hello ' * 10_000; tokenizer = axiom.Runtime().tokenizer", "tokenizer.decode(tokenizer.encode(text))"),
        ("axiom.Runtime()", "axiom.Runtime(on_load=lambda n_done, n_total: None)"),
    ],
    ids=["generate", "logits", "tokenize", "load"],
)
def test_a_program_ends_while_threads_compute(setup: str, call: str) -> None:
    for i in range(6):
        code = PROGRAM.format(setup=setup, call=call, seconds=0.1 + 0.013 * i)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (3, "")


ENDING = """
import atexit, sys, threading, time
{before}
import axiom
{after}
model = axiom.Runtime(threads=1)
def work():
    while True:
        model.generate("x", max_tokens=50)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
sys.exit(3)
"""
CLOSE = "atexit.register(lambda: model.close())"


@pytest.mark.parametrize(("before", "after"), [(CLOSE, ""), ("", CLOSE)], ids=["first", "last"])
def test_a_model_is_closed_at_the_end_while_a_thread_computes(before: str, after: str) -> None:
    """By a handler that runs after the thread was made to stay in its pass, and by one that runs before."""
    for _ in range(3):
        code = ENDING.format(before=before, after=after)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
        assert done.returncode == 3, done
