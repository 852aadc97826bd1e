"""The bare body gives the bits of the reference and of the native body: kernels, formats, state machines, passes.

One machine, started once, answers all examples of single kernels and state machines; under emulation too, with every
kernel table that the emulated processor runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.bare import conformance
from axiom.bare.engine import Engine
from axiom.bare.kernel import BareError
from axiom.bare.qemu import Machine, accelerator
from axiom.bare.serving import ServingMachine
from axiom.image_writer import pack
from axiom.reference import testing as reference
from tests import blocks as sources
from tests.backends import why_not_bare
from tests.bare_stories import skip_if_lacking
from tests.identity import assert_same as assert_same_rows
from tests.identity import open_body
from tests.machines import Answers, Step
from tests.machines import native as native_machine
from tests.models import write_random_model
from tests.test_identity_engine import PROMPT, run, shape
from tests.test_identity_kernels import any_floats, assert_same, finite_floats
from tests.test_machines import activation_pool, kv_cache_pool, layer_lock, weight_pool
from tests.test_machines_streaming import streamer, streams

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

native: Any = pytest.importorskip("axiom._native", reason="the extension is not built").testing.kernels

ACCELERATORS = ["tcg"] if accelerator() == "tcg" else ["kvm", "tcg"]
FORMATS = sources.FORMATS
SEEDS = st.integers(0, 2**32 - 1)
f32 = np.float32
# Emulation is slow, and half of the examples are its.
EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(EXAMPLES, max_examples=6)


class Examined:
    """A machine, and how many examples it has answered."""

    def __init__(self, kind: str) -> None:
        self.machine = ServingMachine(Machine({"serve": "1"}, accelerator=kind, memory_mib=256))
        self.kernels = conformance.Kernels(self.machine)
        self.tables = self.kernels.tables()
        self.n_example = 0
        # Tests that have used it.
        self.names: set[str] = set()

    def check(self, kernel: str, *arguments: Any) -> None:
        """Every table of the machine, and every table here, against the reference."""
        with np.errstate(all="ignore"):
            expected = getattr(reference, kernel)(*arguments)
        for table in self.tables:
            assert_same(getattr(self.kernels, kernel)(table, *arguments), expected, f"{kernel} of {table}, bare")
        for table in native.tables():
            assert_same(getattr(native, kernel)(table, *arguments), expected, f"{kernel} of {table}, native")
        self.n_example += 1

    def check_program(self, machine: str, sizes: list[int], program: list[Step], expected: Answers) -> None:
        assert conformance.run_machine(self.machine, machine, sizes, program) == expected
        assert native_machine(machine, sizes, program) == expected
        self.n_example += 1


@pytest.fixture(scope="module", params=ACCELERATORS)
def examined(request: pytest.FixtureRequest) -> Iterator[Examined]:
    examined = Examined(request.param)
    pid = examined.machine.pid
    yield examined
    # One machine has answered all of it.
    assert examined.machine.pid == pid
    tests = {name: test for name, test in vars(request.module).items() if name.startswith("test_")}
    all_names = {name for name, test in tests.items() if "bare" in inspect.signature(test).parameters}
    # Unless some were left out.
    assert examined.n_example >= 500 or examined.names != all_names or request.session.testsfailed
    examined.machine.close()


@pytest.fixture
def bare(request: pytest.FixtureRequest, examined: Examined) -> Examined:
    examined.names.add(request.node.originalname)
    return examined


def test_the_tables_of_the_machine(bare: Examined) -> None:
    assert {"portable", "sse2"} <= set(bare.tables)
    assert bare.machine.greeting.kernels == bare.tables[0]


@EXAMPLES
@given(seed=SEEDS, n=st.integers(1, 300))
def test_elementwise(bare: Examined, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    bare.check("exp", any_floats(rng, n))
    x = any_floats(rng, n)
    # The contract leaves the payload of a NaN open.
    bare.check("to_f16", np.where(np.isnan(x), f32(7), x))
    bare.check("silu_mul", any_floats(rng, n), finite_floats(rng, n))


@EXAMPLES
@given(seed=SEEDS, n_tokens=st.integers(1, 5), n=st.integers(1, 200))
def test_rows(bare: Examined, seed: int, n_tokens: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    bare.check("quantize", any_floats(rng, n_tokens, n))
    bare.check("rms_norm", any_floats(rng, n_tokens, n), finite_floats(rng, n), 1e-5)


@EXAMPLES
@given(seed=SEEDS, n_tokens=st.integers(1, 3), n_head=st.integers(1, 3), n_pair=st.integers(1, 40))
def test_rope(bare: Examined, seed: int, n_tokens: int, n_head: int, n_pair: int) -> None:
    rng = np.random.default_rng(seed)
    x = finite_floats(rng, n_tokens, n_head, 2 * n_pair + seed % 3)
    cos, sin = finite_floats(rng, n_tokens, n_pair), finite_floats(rng, n_tokens, n_pair)
    for pairing in ("norm", "neox"):
        bare.check("rope", x, cos, sin, pairing)


@pytest.mark.parametrize("fmt", FORMATS)
@FEW
@given(seed=SEEDS, n_rows=st.integers(1, 35), n_tokens=st.integers(1, 18), n_block=st.integers(1, 12))
def test_products(bare: Examined, fmt: str, seed: int, n_rows: int, n_tokens: int, n_block: int) -> None:
    rng = np.random.default_rng(seed)
    n_weights, _ = sources.block_shape(fmt)
    n_block = n_block if n_weights < 256 else 1 + n_block // 8
    cols = n_block * n_weights if n_weights > 1 else n_block * 7
    n = n_rows * cols // n_weights
    made = (sources.wild_blocks if rng.random() < 0.5 else sources.random_blocks)(fmt, n, rng)
    rows = np.ascontiguousarray(made).view(np.uint8).reshape(n_rows, -1)
    bare.check("matmul", fmt, rows, cols, finite_floats(rng, n_tokens, cols))
    panels = reference.pack(fmt, rows, cols)
    assert bare.kernels.pack(fmt, rows, cols) == panels
    assert np.array_equal(bare.kernels.unpack(fmt, panels, n_rows, cols), rows)
    with np.errstate(all="ignore"):
        assert_same(bare.kernels.dequantize(fmt, rows, cols), reference.dequantize(fmt, rows, cols), "dequantize")


@pytest.mark.parametrize("kv", ["f16", "f32"])
@FEW
@given(
    seed=SEEDS,
    first_pos=st.one_of(st.integers(0, 200), st.sampled_from([126, 127, 128, 255, 256])),
    n_tokens=st.integers(1, 3),
    heads=st.sampled_from([(1, 1, 16), (4, 2, 8), (3, 1, 32), (2, 2, 20)]),
)
def test_attention(
    bare: Examined, kv: str, seed: int, first_pos: int, n_tokens: int, heads: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(seed)
    n_head, n_head_kv, head_dim = heads
    q = (rng.standard_normal((n_tokens, n_head, head_dim)) * 10.0 ** rng.integers(-2, 2)).astype(f32)
    k, v = rng.standard_normal((2, n_head_kv, first_pos + n_tokens, head_dim)).astype(f32)
    bare.check("attention", q, first_pos, k, v, kv)


def programs(requests: list[str], first: int, second: int) -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.tuples(st.sampled_from(requests), st.integers(0, first), st.integers(0, second)), min_size=5, max_size=40
    )


@settings(EXAMPLES, max_examples=60)
@given(programs(["start", "finish", "fail", "begin", "end", "unload", "pin", "slot_of"], 2, 5))
def test_weight_pool(bare: Examined, program: list[Step]) -> None:
    bare.check_program("weight_pool", [3], program, weight_pool(3, program))


@settings(EXAMPLES, max_examples=60)
@given(programs(["begin", "end"], 6, 0))
def test_activation_pool(bare: Examined, program: list[Step]) -> None:
    bare.check_program("activation_pool", [], program, activation_pool(program))


@settings(EXAMPLES, max_examples=60)
@given(programs(["acquire", "release", "abandon", "tick", "tick", "yield"], 3, 50))
def test_layer_lock(bare: Examined, steps: list[Step]) -> None:
    program, now_us = [], 0
    for request, number, later_us in steps:
        now_us += later_us
        program.append((request, number, now_us))
    bare.check_program("layer_lock", [], program, layer_lock(program))


@settings(EXAMPLES, max_examples=60)
@given(programs(["open", "append", "append", "append", "fork", "abandon", "rewind", "length", "close"], 3, 300))
def test_kv_cache_pool(bare: Examined, program: list[Step]) -> None:
    program = [("open", 0, 0), *program]
    bare.check_program("kv_cache_pool", [500, 3], program, kv_cache_pool(500, 3, program))


@settings(EXAMPLES, max_examples=60)
@given(streams())
def test_streamer(bare: Examined, drawn: tuple[list[int], list[Step]]) -> None:
    sizes, program = drawn
    bare.check_program("streamer", sizes, program, streamer(sizes, program))


# Whole passes: a machine for each model


@pytest.fixture(scope="module")
def image_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    folder = tmp_path_factory.mktemp("images")

    def image_of(path: Path) -> Path:
        image = folder / f"{path.stem}.axiom"
        if not image.exists():
            pack(path, image)
        return image

    return image_of


def bare_engine(image: Path, n_vocab: int = 259, **options: Any) -> Engine:
    return Engine(image, **{"n_vocab": n_vocab, "n_ctx": 320, "n_seq_max": 5, "memory_mib": 128} | options)


@pytest.mark.parametrize("fmt", FORMATS)
def test_formats(random_model: Callable[..., Path], image_of: Callable[[Path], Path], fmt: str) -> None:
    path = random_model(**shape(fmt))
    expected = run(open_body(path, "reference"))
    # Some on each board, on one core and two.
    i = FORMATS.index(fmt)
    board, kind = ("q35", "tcg") if i % 4 == 1 else ("microvm", ACCELERATORS[i % len(ACCELERATORS)])
    engine = bare_engine(image_of(path), n_core=1 + i % 2, board=board, accelerated_by=kind)
    assert_same_rows(run(engine), expected, f"bare, {fmt}, {board}, {kind}")
    native_engine = open_body(path, "native")
    assert_same_rows(run(native_engine), expected, f"native, {fmt}")
    info = engine.info()
    assert (info["n_allocation_in_passes"], info["bytes_kv"] > 0) == (0, True)
    engine.close()


@pytest.mark.parametrize("table", ["portable", "sse2", "avx2"])
def test_tables_under_emulation(
    random_model: Callable[..., Path], image_of: Callable[[Path], Path], table: str
) -> None:
    path = random_model(**shape("Q4_0"))
    try:
        engine = bare_engine(image_of(path), kernels=table, accelerated_by="tcg")
    except BareError as error:
        skip_if_lacking(table, str(error))
        raise
    assert engine.info()["kernels"] == table
    assert_same_rows(run(engine), run(open_body(path, "reference")), f"bare, {table}, emulated")
    engine.close()


def test_a_model_that_streams(random_model: Callable[..., Path], image_of: Callable[[Path], Path]) -> None:
    path = random_model(**shape("Q8_0") | {"n_layer": 6})
    expected = run(open_body(path, "reference", kv="f32"))
    engine = bare_engine(image_of(path), kv="f32")
    info = engine.info()
    engine.close()
    budget = info["bytes_kv_reserved"] + info["bytes_activations"] + info["bytes_weights"] * 2 // 3
    engine = bare_engine(image_of(path), kv="f32", budget=budget, paranoid=True)
    assert_same_rows(run(engine), expected, "bare, streamed")
    assert engine.info()["bytes_streamed"] > 0
    telemetry = engine.telemetry()
    assert telemetry["bytes_read"] > 2 * engine.info()["bytes_streamed"]
    engine.close()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(cuts=st.lists(st.integers(1, 299), max_size=8, unique=True).map(sorted))
def test_any_chunks(one_engine: tuple[Engine, np.ndarray], cuts: list[int]) -> None:
    engine, expected = one_engine
    seq, edges = engine.seq_new(), [0, *cuts, len(PROMPT)]
    parts = [engine.forward([seq], [PROMPT[a:b]], "all") for a, b in pairwise(edges)]
    engine.seq_free(seq)
    assert_same_rows([np.concatenate(parts)], [expected], f"cuts {cuts}")


@pytest.fixture(scope="module")
def one_engine(
    random_model: Callable[..., Path], image_of: Callable[[Path], Path]
) -> Iterator[tuple[Engine, np.ndarray]]:
    path = random_model(**shape("Q4_1"))
    body = open_body(path, "reference")
    engine = bare_engine(image_of(path), n_core=2)
    yield engine, body.forward([body.seq_new()], [PROMPT], "all")
    engine.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_history(one_engine: tuple[Engine, np.ndarray], native_twin: Any, data: st.DataObject) -> None:
    """Forks, rewinds, batches and saved states in any order, in the machine and beside it."""
    seqs: list[list[int]] = []
    try:
        live(data, (one_engine[0], native_twin), seqs)
    finally:
        for pair in seqs:
            for body, seq in zip((one_engine[0], native_twin), pair, strict=True):
                body.seq_free(seq)


def live(data: st.DataObject, bodies: tuple[Engine, Any], seqs: list[list[int]]) -> None:
    for _ in range(data.draw(st.integers(1, 8))):
        what = data.draw(st.sampled_from(["new", "forward", "forward", "fork", "rewind", "load", "free"]))
        if what == "new" or not seqs:
            if len(seqs) < 5:
                seqs.append([body.seq_new() for body in bodies])
            continue
        chosen = seqs[data.draw(st.integers(0, len(seqs) - 1))]
        length = bodies[0].seq_len(chosen[0])
        assert length == bodies[1].seq_len(chosen[1])
        if what == "forward":
            batch = [chosen, *(other for other in seqs if other is not chosen)][: data.draw(st.integers(1, len(seqs)))]
            new = [PROMPT[: data.draw(st.integers(1, 40))] for _ in batch]
            rows = data.draw(st.sampled_from(["last", "all", "none"]))
            if any(bodies[0].seq_len(pair[0]) + len(ids) > 320 for pair, ids in zip(batch, new, strict=True)):
                continue
            got, expected = (
                np.asarray(body.forward([pair[i] for pair in batch], new, rows)) for i, body in enumerate(bodies)
            )
            assert got.shape == expected.shape
            assert np.array_equal(got.view(np.uint32), expected.view(np.uint32))
        elif what == "fork" and len(seqs) < 5:
            seqs.append([body.seq_fork(seq) for body, seq in zip(bodies, chosen, strict=True)])
        elif what == "rewind":
            n_pos = data.draw(st.integers(0, length))
            for body, seq in zip(bodies, chosen, strict=True):
                body.seq_rewind(seq, n_pos)
        elif what == "load" and len(seqs) < 5:
            states = [body.seq_save(seq) for body, seq in zip(bodies, chosen, strict=True)]
            assert states[0] == states[1]
            seqs.append([body.seq_load(state) for body, state in zip(bodies, states[::-1], strict=True)])
        elif what == "free":
            seqs.remove(chosen)
            for body, seq in zip(bodies, chosen, strict=True):
                body.seq_free(seq)


@pytest.fixture(scope="module")
def native_twin(random_model: Callable[..., Path]) -> Any:
    return open_body(random_model(**shape("Q4_1")), "native")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_shape(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    fmt = data.draw(st.sampled_from(["F16", "Q8_0", "Q5_1"]))
    block = 1 if fmt == "F16" else 32
    chosen: dict[str, Any] = {
        "arch": data.draw(st.sampled_from(["llama", "qwen2", "qwen3"])),
        "fmt": fmt,
        "n_layer": data.draw(st.integers(1, 3)),
        "n_embd": block * data.draw(st.integers(1, 90 if block == 1 else 3)),
        "n_head": 2 * data.draw(st.integers(1, 2)),
        "n_head_kv": 2,
        "head_dim": 32,
        "n_ff": block * data.draw(st.integers(1, 120 if block == 1 else 3)),
        "n_vocab": data.draw(st.integers(260, 330)),
        "tied": data.draw(st.booleans()),
        "seed": data.draw(st.integers(0, 2**20)),
    }
    folder = tmp_path_factory.mktemp("shape")
    path = write_random_model(folder / "model.gguf", **chosen)
    pack(path, folder / "model.axiom")
    tokens = np.random.default_rng(chosen["seed"]).integers(0, chosen["n_vocab"], 70).tolist()
    body = open_body(path, "reference")
    engine = bare_engine(folder / "model.axiom", chosen["n_vocab"])
    got = engine.forward([engine.seq_new()], [tokens], "all")
    engine.close()
    assert_same_rows([got], [body.forward([body.seq_new()], [tokens], "all")], f"{chosen}")
