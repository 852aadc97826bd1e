"""The native engine at its border: errors, threads, signals, memory. Its numbers are tested in test_identity_*."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom import _native, errors
from axiom.engine import Engine
from axiom.engine_options import EngineOptions
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from tests.models import SMALL

PROMPT = list(range(5, 45))
Open = Callable[..., Engine]


@pytest.fixture
def opened(random_model: Callable[..., Path]) -> Iterator[Open]:
    """`opened(**options)`: an engine over a small model, closed after the test."""
    engines = []
    path = random_model(**SMALL)

    def open_it(backend: str = "native", **options: Any) -> Engine:
        gguf = GGUFFile(path)
        options = {"n_ctx": 256, "n_seq_max": 3, "threads": 2} | options
        engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(**options), backend)
        engines.append(engine)
        return engine

    yield open_it
    for engine in engines:
        engine.close()


def parts(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """What the constructor takes, to be spoilt."""
    gguf = GGUFFile(path)
    config = ModelConfig.from_gguf(gguf)
    tensors = []
    for spec in config.tensors:
        tensors.append((spec.name, spec.format.name, spec.rows, spec.cols, gguf.tensor_data(spec.name)))
    return config.as_dict(), tensors


def test_logits_are_a_list_of_rows_and_an_array(opened: Open) -> None:
    engine = opened()
    logits = engine.forward([engine.seq_new()], [PROMPT[:3]], logits="all")
    array = np.asarray(logits)
    assert (array.shape, array.dtype, len(logits)) == ((3, 300), np.float32, 3)
    assert all(np.array_equal(row, expected) for row, expected in zip(logits, array, strict=True))
    assert np.array_equal(logits[-1], array[2])
    assert np.array_equal(logits[1:], array[1:])
    assert [len(row) for row in logits[1:]] == [300, 300]
    for wrong in (3, -4):
        with pytest.raises(IndexError, match=f"one of 3 rows, got {wrong}"):
            logits[wrong]
    with pytest.raises(ValueError, match="follow each other"):
        logits[::2]


def test_same_bits_as_the_reference(opened: Open) -> None:
    rows = []
    for backend in ("native", "reference"):
        engine = opened(backend)
        rows.append(np.asarray(engine.forward([engine.seq_new()], [PROMPT], "all")))
    assert rows[0].view(np.uint32).tolist() == rows[1].view(np.uint32).tolist()


def test_out_is_written_and_returned(opened: Open) -> None:
    engine = opened()
    seq = engine.seq_new()
    out = np.full((1, engine.n_vocab), np.nan, np.float32)
    assert engine.forward([seq], [PROMPT], "last", out) is out
    engine.seq_rewind(seq, 0)
    assert np.asarray(engine.forward([seq], [np.array(PROMPT)])).tobytes() == out.tobytes()
    assert np.asarray(engine.forward([seq], [PROMPT], "none")).shape == (0, engine.n_vocab)
    assert np.asarray(engine.forward([], [])).shape == (0, engine.n_vocab)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 300), np.float32),
        np.zeros((1, 300)),
        np.zeros((1, 600), np.float32)[:, ::2],
        np.zeros(300, np.float32),
        [0.0],
    ],
)
def test_out_that_does_not_fit(opened: Open, out: Any) -> None:
    engine = opened()
    with pytest.raises(ValueError, match=r"out: expected a writeable, contiguous float32 array of shape \[1, 300\]"):
        engine.forward([engine.seq_new()], [PROMPT], "last", out)


def test_out_that_is_read_only(opened: Open) -> None:
    engine = opened()
    out = np.zeros((1, 300), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writeable"):
        engine.forward([engine.seq_new()], [PROMPT], "last", out)


# What a pass refuses: both bodies alike, in the same words.
REFUSED: list[tuple[str, tuple[Any, ...], type[Exception]]] = [
    ("no such sequence", ([2], [[1]]), ValueError),
    ("negative sequence", ([-1], [[1]]), ValueError),
    ("twice", ([0, 0], [[1], [2]]), ValueError),
    ("no tokens", ([0], [[]]), ValueError),
    ("token too large", ([0], [[1, 300]]), ValueError),
    ("negative token", ([0], [[-1]]), ValueError),
    ("no number", ([0], [["a"]]), TypeError),
    ("fraction", ([0], [[1.5]]), TypeError),
    ("uneven", ([0], [[1], [2]]), ValueError),
    ("unknown rows", ([0], [[1]], "first"), ValueError),
    ("too long", ([0], [[1] * 257]), errors.ContextLengthError),
]


@pytest.mark.parametrize(("arguments", "kind"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_refused_and_nothing_has_changed(
    opened: Open, backend: str, arguments: tuple[Any, ...], kind: type[Exception]
) -> None:
    engine = opened(backend)
    assert engine.seq_new() == 0
    engine.forward([0], [[7, 8]])
    with pytest.raises(kind) as caught:
        engine.forward(*arguments)
    assert type(caught.value) is kind
    assert engine.seq_len(0) == 2
    engine.forward([0], [[9]])


def test_a_token_beyond_64_bits(opened: Open) -> None:
    engine = opened()
    with pytest.raises(ValueError, match=f"sequence 0: expected tokens in 0 ... 299, got {1 << 70}"):
        engine.forward([engine.seq_new()], [[1 << 70]])


def test_sequences_run_out(opened: Open) -> None:
    engine = opened()
    assert [engine.seq_new() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(errors.MemoryBudgetError, match="all 3 sequences are taken"):
        engine.seq_new()
    engine.seq_free(1)
    assert engine.seq_fork(0) == 1


def test_closed(opened: Open) -> None:
    engine = opened()
    engine.seq_new()
    engine.close()
    engine.close()
    for call in (engine.seq_new, engine.info, engine.telemetry, lambda: engine.forward([0], [[1]])):
        with pytest.raises(ValueError, match="this engine is closed; open the model again"):
            call()
    assert engine.n_ctx == 256


def test_info_and_telemetry(opened: Open) -> None:
    engine = opened(kernels="portable")
    engine.forward([engine.seq_new()], [PROMPT])
    info = engine.info()
    assert (info["backend"], info["kernels"], info["threads"], info["kv"]) == ("native", "portable", 2, "f16")
    assert info["bytes_weights"] > 100_000
    assert 0 < info["bytes_kv"] < info["bytes_kv_reserved"]
    telemetry = engine.telemetry()
    assert (telemetry["n_pass"], telemetry["n_token"], len(telemetry["layers"])) == (1, len(PROMPT), 2)
    assert set(opened("reference").telemetry()) == set(telemetry)
    assert set(opened("reference").telemetry()["layers"][0]) == set(telemetry["layers"][0])


# What the constructor refuses.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernels": "neon9"}, "no kernel table is named"),
        ({"kv": "f8"}, "kv: expected 'f16' or 'f32', got"),
        ({"threads": 0}, "threads: expected"),
        ({"threads": 100_000}, "threads: expected 1 to 1024, got 100000"),
        ({"n_ctx": 0}, "n_ctx"),
    ],
)
def test_bad_options(random_model: Callable[..., Path], options: dict[str, Any], message: str) -> None:
    config, tensors = parts(random_model(**SMALL))
    with pytest.raises(ValueError, match=message):
        _native.Engine(config, tensors, **({"n_ctx": 8, "n_seq_max": 1} | options))


def test_kernels_forced_by_the_environment(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXIOM_KERNELS", "portable")
    assert opened().info()["kernels"] == "portable"
    best = _native.kernel_info()["chosen"]
    assert opened(kernels=best).info()["kernels"] == best
    monkeypatch.setenv("AXIOM_KERNELS", "quick")
    with pytest.raises(ValueError, match='AXIOM_KERNELS: no kernel table is named "quick"; use one of'):
        opened()


def test_kernels_that_this_processor_lacks() -> None:
    for table in _native.kernel_info()["tables"]:
        if table["missing"]:
            with pytest.raises(ValueError, match=f"kernel table {table['name']} needs .*{table['missing'][0]}"):
                _native.kernel_info(table["name"])
        else:
            assert _native.kernel_info(table["name"])["chosen"] == table["name"]


def spoil(tensors: list[Any], index: int, **changed: Any) -> list[Any]:
    names = ("name", "format", "rows", "cols", "data")
    spoilt = [changed.get(name, value) for name, value in zip(names, tensors[index], strict=True)]
    return [*tensors[:index], tuple(spoilt), *tensors[index + 1 :]]


def test_bad_tensors(random_model: Callable[..., Path]) -> None:
    config, tensors = parts(random_model(**SMALL))
    name, fmt, rows, cols, data = tensors[0]
    cases: list[tuple[list[Any], type[Exception], str]] = [
        (tensors[1:], errors.ModelFormatError, f"{name}: the model has no such tensor"),
        ([*tensors, ("extra", fmt, rows, cols, data)], errors.ModelFormatError, "extra: "),
        (spoil(tensors, 0, rows=rows + 1), errors.ModelFormatError, f"{name}: expected"),
        (spoil(tensors, 0, data=data[:-1]), errors.ModelFormatError, f"{name}: expected .* bytes"),
        (spoil(tensors, 0, format="Q9_9"), ValueError, f"{name}: expected one of the formats F32, .*Q9_9"),
        (spoil(tensors, 0, data=data[::2]), TypeError, f"{name}: expected a contiguous uint8 array"),
        (spoil(tensors, 0, data=data.view(np.int8)), TypeError, f"{name}: expected a one-dimensional uint8 array"),
    ]
    for spoilt, kind, message in cases:
        with pytest.raises(kind, match=message):
            _native.Engine(config, spoilt, n_ctx=8, n_seq_max=1, threads=1)
    with pytest.raises(errors.ModelFormatError, match="n_embd"):
        _native.Engine(config | {"n_embd": 0}, tensors, n_ctx=8, n_seq_max=1)
    with pytest.raises(KeyError, match="n_head_kv"):
        _native.Engine({"n_vocab": 1, "n_embd": 1, "n_layer": 1, "n_ff": 1, "n_head": 1}, tensors, n_ctx=8, n_seq_max=1)


def test_more_positions_than_any_memory_holds(random_model: Callable[..., Path]) -> None:
    config, tensors = parts(random_model(**SMALL))
    with pytest.raises(errors.MemoryBudgetError, match="use a smaller n_ctx or fewer sequences"):
        _native.Engine(config, tensors, n_ctx=1 << 30, n_seq_max=1 << 14, threads=1)


def test_memory_that_the_system_refuses(random_model: Callable[..., Path]) -> None:
    resource = pytest.importorskip("resource", reason="this system limits no address space")
    del resource
    code = """
import resource, sys
from axiom import errors
from axiom.engine_options import EngineOptions
from axiom.opening import open_engine
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
gguf = GGUFFile(sys.argv[1])
options = {"n_seq_max": 1, "threads": 1}
open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(n_ctx=64, **options))[0].close()
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(n_ctx=4 << 20, **options))
except errors.MemoryBudgetError as error:
    print(error)
"""
    path = random_model(**SMALL, n_ctx=4 << 20)
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert re.match(r"cannot reserve \d+ bytes \(.* GiB\) of memory: .*; use a smaller n_ctx", result.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say how much is taken")
def test_what_there_is_no_memory_to_return_is_refused(random_model: Callable[..., Path]) -> None:
    code = """
import resource, sys
from axiom import errors
from axiom.engine_options import EngineOptions
from axiom.opening import open_engine
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
gguf = GGUFFile(sys.argv[1])
options = EngineOptions(n_ctx=2048, n_seq_max=2, threads=1, kv="f32")
engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), options)
seq, other = engine.seq_new(), engine.seq_new()
engine.forward([seq], [[1] * 2048], "none")
long, short = [1] * 3_662_109, [1] * 2048
with open("/proc/self/statm") as file:
    taken = int(file.read().split()[0]) * resource.getpagesize()
for n_left, call in (
    (4 << 20, lambda: engine.forward([other], [long], "all")),
    (1 << 30, lambda: engine.forward([other], [long], "all")),
    (4 << 20, lambda: engine.forward([other], [short], "all")),
    (4 << 20, lambda: engine.seq_save(seq)),
):
    resource.setrlimit(resource.RLIMIT_AS, (taken + n_left, resource.RLIM_INFINITY))
    try:
        call()
    except (errors.ContextLengthError, errors.MemoryBudgetError) as error:
        print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert engine.seq_len(other) == 0
assert len(engine.forward([other], [short], "all")) == 2048
engine.seq_free(other)
assert engine.seq_len(engine.seq_load(engine.seq_save(seq))) == 2048
"""
    path = random_model(n_embd=256, n_head=4, n_head_kv=4, n_ff=96, n_vocab=2000, fmt="Q8_0", n_ctx=2048)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done
    tokens, too_long, logits, saved = done.stdout.splitlines()
    assert too_long.startswith("ContextLengthError sequence 1 has 0 positions and 3662109 more make 3662109, but n_ctx")
    assert re.match(r"MemoryBudgetError there is no memory for the tokens, \d+ bytes; ask for less at a time", tokens)
    assert logits.startswith("MemoryBudgetError there is no memory for logits, 16384000 bytes; ask for less at a time")
    assert saved.startswith("MemoryBudgetError there is no memory for a saved sequence, 8388644 bytes; ask")


def test_progress_counts_up_and_may_refuse(opened: Open) -> None:
    seen: list[tuple[int, int]] = []
    opened(progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0

    def refuse(done: int, total: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        opened(progress=refuse)


def test_a_second_thread_gets_an_error_and_not_a_deadlock(opened: Open) -> None:
    engine = opened()
    seq = engine.seq_new()
    outcomes: list[str] = []

    def work() -> None:
        for _ in range(200):
            try:
                engine.seq_len(seq)
                engine.forward([seq], [[1] * 200], "none")
                engine.seq_rewind(seq, 0)
            except RuntimeError as error:
                outcomes.append(str(error))
            except errors.ContextLengthError:
                outcomes.append("another thread was faster")
            except BaseException as error:
                outcomes.append(repr(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy = "the engine is in a call of another thread; use one at a time"
    assert {busy} <= set(outcomes) <= {busy, "another thread was faster"}


def test_other_threads_run_during_a_pass(random_model: Callable[..., Path]) -> None:
    config, tensors = parts(random_model(**SMALL | {"n_layer": 40}))
    engine = _native.Engine(config, tensors, n_ctx=256, n_seq_max=1, threads=1, kernels="portable")
    seq = engine.seq_new()
    turns: list[float] = []
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            turns.append(time.perf_counter())
            time.sleep(1e-4)

    counter = threading.Thread(target=count)
    counter.start()
    begin = time.perf_counter()
    engine.forward([seq], [[1] * 250], "none")
    end = time.perf_counter()
    done.set()
    counter.join()
    # Well inside of the one pass, and not only as it begins and ends.
    quarter = (end - begin) / 4
    assert sum(begin + quarter < turn < end - quarter for turn in turns) >= 3


def test_ctrl_c_ends_a_pass_and_leaves_the_sequence_as_it_was(random_model: Callable[..., Path]) -> None:
    config, tensors = parts(random_model(**SMALL | {"n_layer": 40}))
    engine = _native.Engine(config, tensors, n_ctx=8192, n_seq_max=1, threads=1, kernels="portable")
    seq = engine.seq_new()
    engine.forward([seq], [PROMPT])
    # The timer's signal is handled like that of Ctrl-C: by Python, on its main thread.
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            engine.forward([seq], [[3] * 8000], "none")
        seconds = time.monotonic() - begin
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert engine.seq_len(seq) == len(PROMPT)
    begin = time.monotonic()
    engine.forward([seq], [[3] * 400], "none")
    # 8000 tokens take more than twenty times as long as 400.
    assert seconds < 20 * (time.monotonic() - begin) + 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_the_engine_still_computes(random_model: Callable[..., Path]) -> None:
    code = """
import os, sys
import numpy as np
from axiom.engine_options import EngineOptions
from axiom.opening import open_engine
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
gguf = GGUFFile(sys.argv[1])
engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(n_ctx=64, n_seq_max=1, threads=3))
seq = engine.seq_new()
expected = np.asarray(engine.forward([seq], [[1, 2, 3]])).tobytes()
child = os.fork()
engine.seq_rewind(seq, 0)
ok = np.asarray(engine.forward([seq], [[1, 2, 3]])).tobytes() == expected
engine.close()
if child == 0:
    os._exit(0 if ok else 1)
assert ok and os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code, str(random_model(**SMALL))], check=True, timeout=60)
