"""The reference engine: sequences, invariance, errors and saved state."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.engine import FIELDS
from axiom.engine_options import EngineOptions
from axiom.errors import ContextLengthError, MemoryBudgetError, ModelFormatError, NumericError
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from axiom.reference import Engine

SMALL = {"n_embd": 64, "n_head": 4, "n_head_kv": 2, "n_ff": 96, "n_vocab": 300, "fmt": "Q8_0"}
PROMPT = [int(t) for t in np.random.default_rng(11).integers(0, 300, 290)]
Open = Callable[..., Engine]


def engine_of(path: Path, **kwargs: Any) -> Engine:
    gguf = GGUFFile(path)
    options = {"n_ctx": 320, "n_seq_max": 4} | kwargs
    engine, _ = open_engine(gguf, ModelConfig.from_gguf(gguf), EngineOptions(**options), "reference")
    assert isinstance(engine, Engine)
    return engine


@pytest.fixture(scope="module")
def path(random_model: Callable[..., Path]) -> Path:
    return random_model(**SMALL)


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = engine_of(path)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def expected(path: Path) -> np.ndarray:
    """Logits of every position of PROMPT, from one pass."""
    engine = engine_of(path)
    return engine.forward([engine.seq_new()], [PROMPT], "all")


def bits(logits: np.ndarray) -> np.ndarray:
    return logits.view(np.uint32)


@pytest.mark.parametrize("cuts", [[1], [127], [128], [129], [1, 2, 3, 130, 256, 257], [64, 128, 192, 256]])
def test_chunks_give_the_same_bits(engine: Engine, expected: np.ndarray, cuts: list[int]) -> None:
    seq = engine.seq_new()
    edges = [0, *cuts, len(PROMPT)]
    parts = [engine.forward([seq], [PROMPT[a:b]], "all") for a, b in pairwise(edges)]
    assert np.array_equal(bits(np.concatenate(parts)), bits(expected))
    assert engine.seq_len(seq) == len(PROMPT)


def test_a_batch_of_sequences_gives_the_same_bits(engine: Engine, expected: np.ndarray) -> None:
    a, b, c = engine.seq_new(), engine.seq_new(), engine.seq_new()
    engine.forward([b], [PROMPT[:130]], "none")
    got = engine.forward([c, a, b], [PROMPT[:1], PROMPT[:200], PROMPT[130:140]], "last")
    assert np.array_equal(bits(got), bits(expected[[0, 199, 139]]))
    got = engine.forward([a, c], [PROMPT[200:203], PROMPT[1:3]], "all")
    assert np.array_equal(bits(got), bits(expected[[200, 201, 202, 1, 2]]))


@pytest.mark.parametrize("at", [0, 1, 100, 128, 130, 256])
def test_fork_copies_on_write(engine: Engine, expected: np.ndarray, at: int) -> None:
    parent = engine.seq_new()
    engine.forward([parent], [PROMPT[:260]], "none")
    engine.seq_rewind(parent, at)
    child = engine.seq_fork(parent)
    assert engine.seq_len(child) == at
    engine.forward([child], [[7, 8, 9]], "none")  # writes where the parent goes on
    got = engine.forward([parent], [PROMPT[at:280]], "all")
    assert np.array_equal(bits(got), bits(expected[at:280]))
    engine.seq_free(parent)
    engine.seq_rewind(child, at)
    assert np.array_equal(bits(engine.forward([child], [PROMPT[at:270]], "all")), bits(expected[at:270]))


def test_freed_numbers_come_back_lowest_first(engine: Engine) -> None:
    assert [engine.seq_new() for _ in range(4)] == [0, 1, 2, 3]
    engine.seq_free(2)
    engine.seq_free(1)
    assert engine.seq_new() == 1
    assert engine.seq_fork(0) == 2
    with pytest.raises(MemoryBudgetError, match="all 4 sequences are taken"):
        engine.seq_new()
    with pytest.raises(MemoryBudgetError):
        engine.seq_fork(0)


def test_slabs_are_shared_and_freed(engine: Engine) -> None:
    one_slab = engine.info()["bytes_kv_per_slab"]
    a = engine.seq_new()
    engine.forward([a], [PROMPT[:130]], "none")
    b = engine.seq_fork(a)
    assert engine.info()["bytes_kv"] == 2 * one_slab
    engine.forward([b], [[1]], "none")
    assert engine.info()["bytes_kv"] == 3 * one_slab  # the second slab of each, and the first of both
    engine.seq_rewind(b, 128)
    assert engine.info()["bytes_kv"] == 2 * one_slab
    engine.seq_free(a)
    assert engine.info()["bytes_kv"] == one_slab
    engine.seq_free(b)
    assert engine.info()["bytes_kv"] == 0


@pytest.mark.parametrize("kv", ["f16", "f32"])
def test_save_and_load(path: Path, kv: str) -> None:
    engine, other = engine_of(path, kv=kv), engine_of(path, kv=kv)
    seq = engine.seq_new()
    engine.forward([seq], [PROMPT[:200]], "none")
    state = engine.seq_save(seq)
    other.seq_new()
    loaded = other.seq_load(state)
    assert loaded == 1
    assert other.seq_len(loaded) == 200
    assert other.seq_save(loaded) == state
    a, b = engine.forward([seq], [PROMPT[200:]]), other.forward([loaded], [PROMPT[200:]])
    assert np.array_equal(bits(a), bits(b))
    empty = engine.seq_save(engine.seq_new())
    assert other.seq_len(other.seq_load(empty)) == 0


def test_saved_bytes_lie_as_documented(engine: Engine) -> None:
    seq = engine.seq_new()
    engine.forward([seq], [PROMPT[:3]], "none")
    state = engine.seq_save(seq)
    assert state[:8] == b"AXIOMSEQ"
    assert np.frombuffer(state[8:32], "<u4").tolist() == [1, 2, 2, 2, 16, 3]
    assert len(state) == 32 + 2 * 2 * 2 * 2 * 16 * 3 + 4
    assert int.from_bytes(state[-4:], "little") == zlib.crc32(state[:-4])
    # Values of the first layer, position 2, head 1: half floats between the keys and the next layer.
    row = np.frombuffer(state[32:-4], "<f2").reshape(2, 2, 3, 2, 16)[0, 1, 2, 1]
    k_v = next(iter(engine._cache.tiles(seq, 0)))
    assert np.array_equal(row.astype(np.float32), k_v[1][1, 2])


def test_a_damaged_state_is_refused(engine: Engine, random_model: Callable[..., Path]) -> None:
    seq = engine.seq_new()
    engine.forward([seq], [PROMPT[:10]], "none")
    state = engine.seq_save(seq)
    for damaged, message in (
        (b"", "begin with AXIOMSEQ: expected 36, got 0"),
        (b"x" * 100, "begin with AXIOMSEQ"),
        (state[:-1], "length in bytes"),
        (state + b"\0", "length in bytes"),
        (state[:50] + bytes([state[50] ^ 1]) + state[51:], "checksum"),
        (state[:8] + b"\2" + state[9:], "version: expected 1, got 2"),
        (state[:28] + b"\xff\xff\xff\0" + state[32:], "n_ctx is 320"),
    ):
        with pytest.raises((ValueError, ContextLengthError), match=message):
            engine.seq_load(damaged)
    other = engine_of(random_model(**SMALL | {"n_layer": 3}))
    with pytest.raises(ValueError, match="n_layer: expected 3, got 2"):
        other.seq_load(state)
    assert other.seq_new() == 0  # nothing was opened on the way


def test_context_overflow_names_both_numbers(engine: Engine) -> None:
    a, b = engine.seq_new(), engine.seq_new()
    engine.forward([a], [PROMPT], "none")
    with pytest.raises(ContextLengthError, match=r"290 positions and 31 more make 321, but n_ctx is 320"):
        engine.forward([b, a], [[1, 2], [1] * 31])
    assert (engine.seq_len(a), engine.seq_len(b)) == (290, 0)
    assert engine.forward([a], [[1] * 30]).shape == (1, 300)


def test_wrong_arguments(engine: Engine) -> None:
    seq = engine.seq_new()
    for call, message in (
        (lambda: engine.forward([5], [[1]]), "is not open"),
        (lambda: engine.forward([seq, seq], [[1], [2]]), "sequence 0 is in the pass twice"),
        (lambda: engine.forward([seq], [[]]), "has no new tokens"),
        (lambda: engine.forward([seq], [[1], [2]]), "as many lists"),
        (lambda: engine.forward([seq], [[300]]), r"tokens in 0 ... 299, got 300"),
        (lambda: engine.forward([seq], [[-1]]), r"tokens in 0 ... 299, got -1"),
        (lambda: engine.forward([seq], [[1.5]]), "list of whole numbers"),
        (lambda: engine.forward([seq], [[1]], "first"), "'last', 'all', 'none'"),
        (lambda: engine.forward([seq], [[1]], out=np.zeros((1, 299), np.float32)), r"shape \[1, 300\]"),
        (lambda: engine.forward([seq], [[1]], out=np.zeros((1, 300))), "float32"),
        (lambda: engine.seq_rewind(seq, 1), r"0 ... 0"),
        (lambda: engine.seq_free(9), "is not open"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            call()
    assert engine.seq_len(seq) == 0


def test_out_is_filled_and_returned(engine: Engine, expected: np.ndarray) -> None:
    out = np.full((5, 300), np.nan, np.float32)
    assert engine.forward([engine.seq_new()], [PROMPT[:5]], "all", out) is out
    assert np.array_equal(bits(out), bits(expected[:5]))
    assert engine.forward([engine.seq_new()], [PROMPT[:5]], "none").shape == (0, 300)
    assert engine.forward([], []).shape == (0, 300)


def test_an_interrupted_pass_changes_nothing(engine: Engine, expected: np.ndarray, monkeypatch: Any) -> None:
    a, b = engine.seq_new(), engine.seq_new()
    engine.forward([a], [PROMPT[:100]], "none")
    fork = engine.seq_fork(a)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("axiom.reference.model.layer.gate_and_up", interrupt)
        with pytest.raises(KeyboardInterrupt):
            engine.forward([a, b], [PROMPT[100:200], PROMPT[:10]])
    assert [engine.seq_len(seq) for seq in (a, b, fork)] == [100, 0, 100]
    got = engine.forward([a, b, fork], [PROMPT[100:101], PROMPT[:1], PROMPT[100:101]])
    assert np.array_equal(bits(got), bits(expected[[100, 0, 100]]))


def test_logits_that_are_not_finite_are_an_error(path: Path) -> None:
    gguf = GGUFFile(path)
    config = ModelConfig.from_gguf(gguf)
    tensors = [
        (spec.name, spec.format.name, spec.rows, spec.cols, np.array(gguf.tensor_data(spec.name)).ravel())
        for spec in config.tensors
    ]
    norm = next(data for name, *_, data in tensors if name == "blk.1.ffn_norm.weight")
    norm.view(np.float32)[3] = np.inf
    engine = Engine(config.as_dict(), tensors, n_ctx=64, n_seq_max=2)
    seq = engine.seq_new()
    with pytest.raises(NumericError, match="sequence 0: the logits at position 2 are not finite"):
        engine.forward([seq], [[1, 2, 3]])
    assert engine.seq_len(seq) == 0
    assert engine.forward([seq], [[1, 2, 3]], "none").shape == (0, 300)


def test_missing_and_left_over_tensors_are_errors(path: Path) -> None:
    gguf = GGUFFile(path)
    config = ModelConfig.from_gguf(gguf)
    tensors = [
        (spec.name, spec.format.name, spec.rows, spec.cols, gguf.tensor_data(spec.name)) for spec in config.tensors
    ]
    with pytest.raises(ModelFormatError, match=r"token_embd.weight: expected shape \[300, 64\], got no such tensor"):
        Engine(config.as_dict(), tensors[1:], n_ctx=64, n_seq_max=2)
    extra = ("blk.9.attn_q.weight", *tensors[0][1:])
    with pytest.raises(ModelFormatError, match=r"blk.9.attn_q.weight: .* would be ignored"):
        Engine(config.as_dict(), [*tensors, extra], n_ctx=64, n_seq_max=2)
    short = (*tensors[0][:4], tensors[0][4].ravel()[:-1])
    with pytest.raises(ModelFormatError, match="take 20400 bytes, got 20399"):
        Engine(config.as_dict(), [short, *tensors[1:]], n_ctx=64, n_seq_max=2)


def test_progress_ends_at_the_total(path: Path) -> None:
    calls: list[tuple[int, int]] = []
    engine_of(path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == ModelConfig.from_gguf(GGUFFile(path)).weight_bytes
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_telemetry_and_close(engine: Engine) -> None:
    engine.forward([engine.seq_new()], [[1, 2, 3]])
    told = engine.telemetry()
    assert (told["n_pass"], told["n_token"], len(told["layers"])) == (1, 3, 2)
    assert set(told["layers"][0]) == {*FIELDS[4:10], "layer_us"}
    assert all(times["stream_us"] == 0 < times["rms_us"] < times["layer_us"] for times in told["layers"])
    in_parts = told["output_us"] + sum(times["layer_us"] for times in told["layers"])
    assert 0 < in_parts <= told["pass_us"] + 10  # the embedding is in no part; parts are rounded
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine.seq_new()


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_architecture_runs_in_chunks(random_model: Callable[..., Path], arch: str, tied: bool) -> None:
    engine = engine_of(random_model(**SMALL | {"arch": arch, "tied": tied, "fmt": "Q4_1", "rope_scaling": "yarn"}))
    a, b = engine.seq_new(), engine.seq_new()
    whole = engine.forward([a], [PROMPT[:140]], "all")
    parts = [engine.forward([b], [PROMPT[i : i + 20]], "all") for i in range(0, 140, 20)]
    assert np.array_equal(bits(np.concatenate(parts)), bits(whole))
    assert whole.std() > 0.1
