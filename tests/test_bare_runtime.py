"""The bare body as a library meets it: what a machine lives through, what it is told, and how its end is reported."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import axiom
from axiom.bare import kernel, qemu
from axiom.bare.engine import Engine
from axiom.bare.kernel import BareError
from axiom.bare.protocol import Frame, Kind, frames
from axiom.bare.serving import ServingMachine
from axiom.image_writer import pack
from tests.backends import why_not_bare
from tests.models import SMALL, write_random_model
from tests.processes import gone, is_alive

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

MODEL = SMALL | {"n_layer": 4}


@pytest.fixture(scope="module")
def image(random_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(random_model(**MODEL), tmp_path_factory.mktemp("image") / "model.axiom")


@pytest.fixture
def engine(image: Path) -> Iterator[Engine]:
    engine = small_engine(image)
    yield engine
    engine.close()


def small_engine(image: Path, **options: Any) -> Engine:
    return Engine(image, **{"n_vocab": 300, "n_ctx": 400, "n_seq_max": 3, "memory_mib": 128} | options)


# Who owns a machine


def test_it_ends_with_close_and_with_its_object(image: Path) -> None:
    engine = small_engine(image)
    pid = engine.machine.pid
    assert is_alive(pid)
    engine.close()
    engine.close()
    assert not is_alive(pid)
    with pytest.raises(ValueError, match="this engine is closed"):
        engine.seq_new()
    engine = small_engine(image)
    pid = engine.machine.pid
    del engine
    assert gone(pid)


OWNER = """
import os, signal, sys, threading
from axiom.bare.engine import Engine
kept = []
def start():
    kept.append(Engine({image!r}, n_vocab=300, n_ctx=64, n_seq_max=1, memory_mib=128))
# The thread that started it ends long before its owner.
thread = threading.Thread(target=start)
thread.start()
thread.join()
kept[0].seq_new()
print(kept[0].machine.pid, flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "raise SystemExit(1)"])
def test_it_ends_with_its_process(image: Path, end: str) -> None:
    script = OWNER.format(image=str(image), end=end)
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert result.stdout, result.stderr
    assert gone(int(result.stdout))


def test_it_ends_when_the_line_is_closed(engine: Engine) -> None:
    # Where the system cannot end it with its owner, the kernel does.
    machine = engine.machine
    machine._socket.close()
    assert gone(machine.pid)
    assert machine.lines[-1].endswith("the program outside has gone")


def test_a_process_with_many_open_files(image: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] != resource.RLIM_INFINITY and limits[1] < 1200:
        pytest.skip(f"this system lets a process open {limits[1]} files, and the test needs 1200")
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1200), limits[1]))
    try:
        while not opened or opened[-1] < 1100:
            opened.append(os.open(os.devnull, os.O_RDONLY))
        engine = small_engine(image)
        assert engine.seq_new() == 0
        engine.close()
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_path_may_have_a_colon(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which before the first slash would else name a protocol."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model:8b.axiom").write_bytes(image.read_bytes())
    engine = small_engine(Path("model:8b.axiom"))
    assert engine.seq_new() == 0
    engine.close()


def test_a_forked_child_does_not_end_it(engine: Engine) -> None:
    child = os.fork()
    if child == 0:
        engine.machine._finalizer()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert engine.seq_new() == 0


def test_the_packed_model_is_gone_with_it(random_model: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with axiom.Runtime(random_model(**MODEL), backend="bare", n_ctx=64, threads=1) as runtime:
        assert list(tmp_path.iterdir()) == []
        assert len(runtime.generate([5, 6], max_tokens=3).tokens) == 3


# What is missing


def test_a_missing_qemu_is_named(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(BareError, match="qemu-system-x86_64 is not installed"):
        axiom.Runtime(image, backend="bare")


def test_a_missing_kernel_is_named(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "__file__", "/nowhere/kernel.py")
    with pytest.raises(BareError, match="run: make kernel"):
        axiom.Runtime(image, backend="bare")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kernels": "avx1024"}, BareError, r"(?s)status COMMAND_LINE.*no kernel table is named"),
        ({"memory": "20MiB"}, axiom.MemoryBudgetError, "needs 64 MiB at least, got 20.0"),
        ({"n_ctx": 10**9}, axiom.ContextLengthError, "use n_ctx="),
        ({"backend": "bar"}, ValueError, "expected 'native', 'reference' or 'bare'"),
    ],
)
def test_what_cannot_be_is_refused(image: Path, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        axiom.Runtime(image, **{"backend": "bare"} | options)


def test_a_damaged_image_is_refused(image: Path, tmp_path: Path) -> None:
    content = bytearray(image.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    (tmp_path / "damaged.axiom").write_bytes(content)
    with pytest.raises(axiom.ModelFormatError, match=r"extent \d of the model is damaged"):
        axiom.Runtime(tmp_path / "damaged.axiom", backend="bare")


def test_a_machine_without_a_model_says_where_it_looked() -> None:
    machine = ServingMachine(qemu.Machine({"serve": "1"}, memory_mib=128))
    with pytest.raises(ValueError, match="no model: there is no module, and no disk that can be used"):
        machine.call(Kind.OPEN, struct.pack("<5QII", 1, 1, 1, 1, 0, 2, 0))
    with pytest.raises(ValueError, match="needs a model; open it first"):
        machine.call(Kind.SEQ_NEW)
    machine.close()


def test_a_model_that_does_not_fit_says_what_to_do(image: Path) -> None:
    with pytest.raises(axiom.MemoryBudgetError, match="use a larger memory budget, a smaller n_ctx or fewer sequences"):
        small_engine(image, budget=1 << 20)


# Calls


def test_the_engine_says_what_the_reference_says(engine: Engine, random_model: Callable[..., Path]) -> None:
    reference = axiom.Runtime(random_model(**MODEL), backend="reference", n_ctx=400, n_seq_max=3).engine._engine
    calls: list[Callable[[Any], Any]] = [
        lambda e: e.seq_len(7),
        lambda e: e.seq_rewind(0, 5),
        lambda e: e.seq_free("x"),
        lambda e: e.forward([0], [[300]]),
        lambda e: e.forward([0, 0], [[1], [2]]),
        lambda e: e.forward([0], [[]]),
        lambda e: e.forward([0], [[1, 2]], [3]),
        lambda e: e.forward([0], [[1] * 401]),
        lambda e: e.forward([0], [[1]], "last", np.zeros((2, 300), np.float32)),
        lambda e: e.seq_load(b"AXIOMSEQ nothing of the kind, but long enough"),
        lambda e: [e.seq_new() for _ in range(5)],
    ]
    for body in (engine, reference):
        assert body.seq_new() == 0
    for call in calls:
        said = []
        for body in (engine, reference):
            with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is what is compared
                call(body)
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]


def test_a_failed_pass_leaves_its_sequences_as_they_were(engine: Engine) -> None:
    # Longer than one request: some of it is done when it fails.
    engine._n_rows_max = 16
    a, b = engine.seq_new(), engine.seq_new()
    engine.forward([a], [[1, 2, 3]])
    with pytest.raises(axiom.ContextLengthError):
        engine.forward([a, b], [[4] * 100, [5] * 401], "all")
    assert (engine.seq_len(a), engine.seq_len(b)) == (3, 0)
    assert engine.forward([a], [[4] * 100], "all").shape == (100, 300)
    assert engine.seq_len(a) == 103


def test_long_passes_are_cut_without_a_trace(engine: Engine) -> None:
    tokens = np.random.default_rng(3).integers(0, 300, 250).tolist()
    seqs = [engine.seq_new() for _ in range(3)]
    expected = engine.forward(seqs[:1], [tokens], "all")
    assert engine._n_rows_max >= 250
    engine._n_rows_max = 7
    got = engine.forward(seqs[1:], [tokens[:99], tokens], [50, 250])
    assert (got == np.concatenate([expected[49:99], expected])).all()


def test_a_state_longer_than_a_message(image: Path) -> None:
    engine = small_engine(image, n_ctx=6000, n_seq_max=3, kv="f32")
    tokens = np.random.default_rng(4).integers(0, 300, 5000).tolist()
    seq = engine.seq_new()
    engine.forward([seq], [tokens], "none")
    state = engine.seq_save(seq)
    assert len(state) > 4 << 20
    again = engine.seq_load(state)
    assert engine.seq_save(again) == state
    assert engine.info()["n_allocation_in_passes"] == 0
    # Longer than any sequence can be: refused before room is made for it.
    with pytest.raises(axiom.MemoryBudgetError, match="longer than"):
        engine.seq_load(state + bytes(8 << 20))
    assert (engine.forward([seq], [[7]]) == engine.forward([again], [[7]])).all()
    engine.close()


def test_ctrl_c_ends_a_pass_and_leaves_the_line_clear(image: Path) -> None:
    engine = small_engine(image, n_ctx=30_000, n_seq_max=1, memory_mib=512, accelerated_by="tcg")
    seq = engine.seq_new()
    engine.forward([seq], [[1, 2, 3]])
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    # Shells let what runs in the background ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.forward([seq], [[7] * 20_000])
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 20
    assert engine.seq_len(seq) == 3
    assert engine.forward([seq], [[4]]).shape == (1, 300)
    engine.close()


# The line


def test_garbage_on_the_line_is_survived(engine: Engine) -> None:
    machine, random = engine.machine, np.random.default_rng(8)
    seq = engine.seq_new()
    for round in range(12):
        noise = random.integers(0, 256, random.integers(1, 3000), dtype=np.uint8).tobytes()
        if round % 3 == 1:
            noise = b"AXBP" + noise
        if round % 3 == 2:
            # The first part of a frame: what follows is not what it claims.
            noise = Frame(Kind.FORWARD, False, 1, 0, bytes(2000)).encode()[: 25 + len(noise)]
        machine._socket.sendall(noise)
        assert engine.seq_len(seq) == 0
    # Numbers that were used, frames that do not follow, requests that nobody knows.
    machine._socket.sendall(Frame(Kind.SEQ_NEW, False, machine._number, 0, b"").encode())
    machine._socket.sendall(Frame(Kind.SEQ_LOAD, True, 10**6, 3, bytes(100)).encode())
    assert engine.seq_len(seq) == 0
    for payload in (b"", b"\0" * 3, b"\xff" * 100, bytes(4000)):
        with pytest.raises(ValueError, match="cannot be read"):
            machine.call(Kind.FORWARD, b"\xff\0\0\0" + payload)
    assert engine.forward([seq], [[1]]).shape == (1, 300)
    assert [engine.seq_new(), engine.seq_new()] == [1, 2], "nothing was opened twice"


def test_a_long_message_after_a_silence_comes_whole(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # Longer than the rest of a frame is waited for.
    time.sleep(2.2)
    n_sent, write = 0, ServingMachine._write

    def counted(*arguments: Any) -> None:
        nonlocal n_sent
        n_sent += 1
        write(*arguments)

    monkeypatch.setattr(ServingMachine, "_write", counted)
    with pytest.raises(ValueError, match="expected the name of a function"):
        engine.machine.call(Kind.CONFORMANCE, bytes(1 << 19))
    assert n_sent == 1, "some of it came damaged"


def test_a_request_that_comes_too_early_is_answered_by_damaged(engine: Engine) -> None:
    machine, seq = engine.machine, engine.seq_new()
    machine._send(Kind.FORWARD, struct.pack("<4I300I", 1, seq, 300, 1, *range(300)))
    # While it computes; and one that was about another request is none.
    while (message := machine._receive(0.001)) is None or message.kind == Kind.PROGRESS:
        machine._write(Kind.CANCEL, machine._number - 1, b"")
        machine._write(Kind.FORWARD, machine._number, b"")
        machine._write(Kind.SEQ_NEW, machine._number + 1, b"")
    assert message.kind == Kind.DAMAGED
    while (message := machine._receive(10.0)) is not None and message.kind == Kind.DAMAGED:
        pass
    assert message is not None
    assert (message.kind, message.number) == (Kind.FORWARD + Kind.ANSWER, machine._number)


def test_a_request_that_comes_damaged_is_sent_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, n_sent = engine.machine, 0

    def damaged(kind: int, number: int, payload: bytes) -> Iterator[Frame]:
        nonlocal n_sent
        n_sent += 1
        for frame in frames(kind, number, payload):
            yield frame if n_sent % 2 == 0 else Damaged(*frame)

    class Damaged(Frame):
        def encode(self) -> bytes:
            right = bytearray(super().encode())
            right[-1] ^= 0x40
            return bytes(right)

    monkeypatch.setattr("axiom.bare.serving.frames", damaged)
    assert [engine.seq_new() for _ in range(3)] == [0, 1, 2]
    assert n_sent == 6
    monkeypatch.undo()
    assert machine.call(Kind.HELLO)


def test_a_machine_that_dies_in_a_call_says_its_last_words(image: Path) -> None:
    engine = small_engine(image, n_ctx=30_000, n_seq_max=1, memory_mib=512, accelerated_by="tcg")
    seq = engine.seq_new()
    threading.Timer(0.3, os.kill, (engine.machine.pid, signal.SIGKILL)).start()
    with pytest.raises(BareError, match="the machine has ended; open the model again") as caught:
        engine.forward([seq], [[7] * 25_000])
    assert "axiom: serving" in str(caught.value)
    with pytest.raises(BareError, match="the machine has ended"):
        engine.seq_new()
    engine.close()


def test_a_machine_that_says_nothing_counts_as_dead(engine: Engine) -> None:
    os.kill(engine.machine.pid, signal.SIGSTOP)
    engine.machine.patience_s = 1.0
    with pytest.raises(BareError, match="has not said anything for 1 s"):
        engine.seq_new()
    assert gone(engine.machine.pid)


def test_a_wrong_kernel_is_found_out(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axiom.bare.serving.VERSION", 2)
    with pytest.raises(BareError, match="speaks version 1 of the protocol, and this package 2"):
        small_engine(image)


# Whole models


def test_a_large_vocabulary(tmp_path: Path) -> None:
    shape = {"n_layer": 1, "n_embd": 32, "n_ff": 32, "n_head": 2, "n_head_kv": 1, "n_vocab": 150_000, "fmt": "Q4_0"}
    path = write_random_model(tmp_path / "model.gguf", **shape, tokenizer="none")
    tokens = np.random.default_rng(5).integers(0, 150_000, 80).tolist()
    with (
        axiom.Runtime(path, backend="bare", n_seq_max=2, threads=1) as bare,
        axiom.Runtime(path, n_seq_max=2, threads=1) as native,
    ):
        for n in (1, 80):
            rows = zip(bare.iter_logits(tokens[:n]), native.iter_logits(tokens[:n]), strict=True)
            assert all((a == b).all() for a, b in rows)


def test_receipts_are_those_of_the_other_bodies(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_tokens": 24, "temperature": 0.8, "seed": 11, "receipt": True}
    with axiom.Runtime(backend="bare") as bare, axiom.Runtime() as native:
        made = bare.generate("Once upon a time", **options)
        assert made.receipt == native.generate("Once upon a time", **options).receipt
        assert made.receipt is not None
        made.receipt.save(tmp_path / "receipt.json")
        score = bare.score("Once upon a time there was a little girl.")
        assert score == native.score("Once upon a time there was a little girl.")
    arguments = ["verify", str(tmp_path / "receipt.json"), "--backend", "bare"]
    code = "from axiom.cli import main; main()"
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (result.returncode, "equal: 24 tokens" in result.stdout) == (0, True), result
