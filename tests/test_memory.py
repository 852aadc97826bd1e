"""The ceiling on memory: how it is given, that it is kept, and what does not fit is refused before loading."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import axiom
from axiom.errors import MemoryBudgetError
from axiom.hardware import memory_budget, parse_memory, resident_bytes
from tests.backends import BACKENDS

WIDE = {"n_layer": 4, "n_embd": 1024, "n_ff": 4096, "n_head": 8, "n_head_kv": 2, "n_vocab": 4000, "n_ctx": 256}

PEAK = """
import sys, axiom
from pathlib import Path
with axiom.Runtime(sys.argv[1], memory=int(sys.argv[2]), n_ctx=256, n_seq_max=1, threads=2) as runtime:
    runtime.generate(list(range(3, 200)), max_tokens=8, seed=1)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("2GiB", 2 << 30),
        (" 1.5 gb ", 1_500_000_000),
        ("800M", 800_000_000),
        ("512ki", 512 << 10),
        ("4096", 4096),
        ("7 B", 7),
        (1 << 31, 1 << 31),
    ],
)
def test_sizes_are_read(text: str | int, n_bytes: int) -> None:
    assert parse_memory(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GiB", "2 gigs", "-1GiB", "1e9", "0", "0.0000001KB", "9999999 TiB", 0, -5])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="memory: expected"):
        parse_memory(text)


def test_what_is_neither_text_nor_number_is_refused() -> None:
    for wrong in (True, 1.5, None):
        with pytest.raises(TypeError, match="memory: expected"):
            parse_memory(wrong)  # type: ignore[arg-type]


def test_a_ceiling_counts_what_is_taken_already() -> None:
    taken = resident_bytes()
    assert taken is not None
    left = memory_budget(taken + (100 << 20)).usable_bytes
    assert left is not None
    assert 90 << 20 < left < 110 << 20
    assert memory_budget(1).usable_bytes == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_does_not_fit_is_refused(backend: str, random_model: Callable[..., Path]) -> None:
    with pytest.raises(MemoryBudgetError, match=r"need .* but .* are usable"):
        axiom.Runtime(random_model(**WIDE, fmt="Q4_0"), backend=backend, memory="1MiB")


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_ceiling_is_kept_at_every_moment(backend: str, random_model: Callable[..., Path]) -> None:
    path = random_model(**WIDE, fmt="F16")
    size = path.stat().st_size
    assert size > 100 << 20, "a model that shows when it is in memory twice"
    ceiling = size + (120 << 20)
    done = subprocess.run([sys.executable, "-c", PEAK, str(path), str(ceiling)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert size < int(done.stdout) < ceiling
