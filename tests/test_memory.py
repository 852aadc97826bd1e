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

# Of a row of logits and of a position's keys and values, a thousand take as much as the rest.
LONG = {"n_layer": 8, "n_ff": 256, "n_head": 4, "n_head_kv": 4, "head_dim": 256, "n_vocab": 32000, "n_ctx": 1024}

PEAK = """
import sys, axiom
from pathlib import Path
path, ceiling, n_ctx, action = sys.argv[1:]
with axiom.Runtime(path, memory=int(ceiling), n_ctx=int(n_ctx), n_seq_max=1, kv="f32", threads=2) as runtime:
    tokens = list(range(3, runtime.n_ctx - 10))
    exec(action)
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
    assert size < peak(path, ceiling, 256, "runtime.generate(tokens, max_tokens=8, seed=1)") < ceiling


ACTIONS = {
    "score": "runtime.score(tokens)",
    "save": "session = runtime.session(); session.append(tokens); session.save(path + '.session')",
    "iter_logits": "assert sum(1 for row in runtime.iter_logits(tokens)) == len(tokens)",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_ceiling_is_kept_by_what_asks_for_much(
    backend: str, action: str, random_model: Callable[..., Path]
) -> None:
    path = random_model(**LONG, fmt="F16")
    # The file, a cache of 64 MiB, and what computing takes.
    ceiling = path.stat().st_size + (64 + 110 << 20)
    assert path.stat().st_size + (64 << 20) < peak(path, ceiling, 1024, ACTIONS[action]) < ceiling


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_above_the_ceiling_are_refused(backend: str, random_model: Callable[..., Path]) -> None:
    path = random_model(**LONG, fmt="F16")
    taken = resident_bytes()
    assert taken is not None
    ceiling = taken + path.stat().st_size + (64 + 90 << 20)
    tokens = list(range(3, 1003))
    with axiom.Runtime(path, backend=backend, memory=ceiling, n_seq_max=1, kv="f32") as runtime:
        with pytest.raises(
            MemoryBudgetError, match=r"1000 tokens take 128000000 bytes, but \d+ are left; .*iter_logits"
        ):
            runtime.logits(tokens)
        assert runtime.logits(tokens[:5]).shape == (5, 32000)


def peak(path: Path, ceiling: int, n_ctx: int, action: str) -> int:
    """The largest resident set of a process that opens a model in so much memory, and does this with it."""
    command = [sys.executable, "-c", PEAK, str(path), str(ceiling), str(n_ctx), action]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
