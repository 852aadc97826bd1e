"""What a process loads before its first token: modules that take long to import come when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import axiom
from axiom.model_file.model_file import default_model_path

pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")

# numpy takes longer to import than a model of 600 MB to load; the others some milliseconds each.
LATER = (
    "numpy",
    "click",
    "jinja2",
    "ctypes",
    "dataclasses",
    "hashlib",
    "importlib.metadata",
    "json",
    "axiom.generation.receipt",
    "axiom.reference",
)

PROGRAM = f"""
import sys
import axiom
with axiom.Runtime(sys.argv[1]) as model:
    assert model.generate("Once upon a time", max_tokens=4, seed=1).usage.completion_tokens == 4
    assert model.generate([5, 6, 7], max_tokens=2, temperature=0.0, logprobs=2, stop="\\0").logprobs[0].top
    assert "".join(model.stream("Once", max_tokens=3, min_p=0.1))
    with model.session() as session:
        session.append("Once upon")
        assert session.generate(" a time", max_tokens=2).tokens
    print(*[name for name in {LATER!r} if name in sys.modules])
    model.logits([1, 2, 3])
    assert "numpy" in sys.modules
"""


def test_generating_from_an_image_loads_nothing_that_it_does_not_use(tmp_path: Path) -> None:
    image = axiom.pack(default_model_path(), tmp_path / "model.axiom")
    done = subprocess.run([sys.executable, "-c", PROGRAM, image], capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout.split()) == ("", [])
