"""Images: the same bytes from both bodies, the same logits as the GGUF, in memory or streamed."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3 as official
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import axiom
from axiom.capacity import ROWS_STREAMED, plan_image, plan_streamed
from axiom.cli import inspect, pack, verify_image
from axiom.engine import FIELDS
from axiom.engine_options import EngineOptions
from axiom.errors import MemoryBudgetError, ModelFormatError, PassStopped
from axiom.model_file.image_file import ImageFile, image_digest
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from axiom.reference.image import blake3
from tests.backends import BACKENDS, ENGINES
from tests.images import TOKENS, Packed

FORMATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
NATIVE = BACKENDS[1:]


@pytest.mark.parametrize(
    "n", [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3 * 1024, 5 * 1024 + 7, 1 << 16, 100_001]
)
def test_blake3_is_blake3(n: int) -> None:
    data = random.Random(n).randbytes(n)
    assert blake3(data) == image_digest(data) == official.blake3(data).digest()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=9000))
def test_blake3_of_anything(data: bytes) -> None:
    assert blake3(data) == official.blake3(data).digest()


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_gives_the_bits_of_its_gguf(backend: str, fmt: str, packed: Packed) -> None:
    gguf, image = packed(fmt=fmt)
    with axiom.Runtime(gguf, backend=backend) as plain, axiom.Runtime(image, backend=backend) as from_image:
        assert (plain.logits(TOKENS) == from_image.logits(TOKENS)).all()
        assert from_image.tokenizer.encode("Hello there") == plain.tokenizer.encode("Hello there")
        assert not from_image.is_streamed
        assert from_image.model_sha256() == plain.model_sha256()


@pytest.mark.parametrize(
    "shape",
    [
        {"arch": "qwen2", "fmt": "Q5_0", "tied": True},
        {"arch": "qwen3", "fmt": "Q4_K", "head_dim": 64},
        {"arch": "llama", "fmt": "Q8_0", "rope_freqs": True, "n_vocab": 301},
    ],
)
@pytest.mark.parametrize("backend", NATIVE)
def test_both_bodies_write_and_read_the_same_image(
    backend: str, shape: dict[str, Any], packed: Packed, tmp_path: Path
) -> None:
    gguf, image = packed(**shape)
    native = axiom.pack(gguf, tmp_path / "native.axiom", backend="native", threads=2)
    assert native.read_bytes() == image.read_bytes()
    with axiom.Runtime(image, backend=backend) as ours, axiom.Runtime(image, backend="reference") as reference:
        assert (ours.logits(TOKENS) == reference.logits(TOKENS)).all()
    opened = ImageFile(image)
    assert ModelConfig.from_gguf(opened) == ModelConfig.from_gguf(axiom.GGUFFile(gguf))
    for name in axiom.GGUFFile(gguf).tensors:
        assert (opened.tensor_data(name) == axiom.GGUFFile(gguf).tensor_data(name)).all()


@pytest.mark.parametrize("backend", NATIVE)
def test_streamed_is_in_memory_bit_for_bit(backend: str, packed: Packed) -> None:
    from axiom._native import Engine

    _, image = packed(fmt="Q4_0", native=True, n_layer=9, n_embd=512, n_ff=1024, n_vocab=2000)
    opened = ImageFile(image)
    layer, head = opened.extents[1].n_bytes, opened.extents[-1].n_bytes
    whole = Engine.from_image(image, n_ctx=96, n_seq_max=2, threads=2)
    expected = np.asarray(whole.forward([whole.seq_new()], [TOKENS], "all"))
    n_pinned = set()
    for n_more in range(9):
        budget = head + (2 + n_more) * layer + (9 << 20)
        engine = Engine.from_image(image, n_ctx=96, n_seq_max=2, threads=2, budget=budget, paranoid=n_more % 2 == 1)
        seq = engine.seq_new()
        info = engine.info()
        n_pinned.add(info["n_layer_pinned"])
        assert info["bytes_weights"] + info["bytes_kv_reserved"] + info["bytes_activations"] <= budget
        rows = [np.asarray(engine.forward([seq], [[token]], "all")) for token in TOKENS]
        assert (np.concatenate(rows) == expected).all()
        if info["bytes_streamed"]:
            told = engine.telemetry()
            assert told["bytes_read"] >= len(TOKENS) * info["bytes_streamed"]
            assert told["n_retry"] == 0
        engine.close()
    assert len(n_pinned) > 4


@pytest.mark.parametrize("backend", NATIVE)
def test_inspect_plans_what_the_runtime_does(backend: str, packed: Packed) -> None:
    gguf, image = packed(fmt="F32", native=True, n_layer=8, n_embd=512, n_ff=1536, n_head=8, n_vocab=1000)
    config = ModelConfig.from_gguf(ImageFile(image))
    usable = image.stat().st_size // 2 + (60 << 20)
    plan = plan_streamed(config, n_ctx=96, kv="f16", n_seq_max=1, usable_bytes=usable, threads=2)
    engine, capacity = open_engine(ImageFile(image), config, EngineOptions(n_ctx=96, n_seq_max=1, threads=2))
    assert capacity.n_ctx == 96
    assert engine.info()["bytes_streamed"] == 0
    streamed = type(engine).from_image(  # type: ignore[attr-defined]
        image, n_ctx=96, n_seq_max=1, threads=2, budget=plan.budget_bytes, rows_per_pass=ROWS_STREAMED
    )
    info = streamed.info()
    assert (info["n_layer_pinned"], info["bytes_streamed"]) == (plan.n_layer_pinned, plan.streamed_bytes)
    assert 0 < plan.n_layer_pinned < 8

    gc.collect()
    memory = f"{usable + (axiom.hardware.resident_bytes() or 0)}"
    for file in (gguf, image):
        result = CliRunner().invoke(inspect.command, [str(file), "--memory", memory, "--n-ctx", "96", "--json"])
        assert result.exit_code == 0, result.output
        shown = json.loads(result.output)["plan"]
        assert shown["streams"]
        assert shown["needs_packing"] == (file == gguf)
        assert abs(shown["n_layer_pinned"] - plan.n_layer_pinned) <= 1, "as much memory, but for what Python has taken"
        assert 0 < shown["tokens_per_second"] <= shown["disk_bytes_per_second"] / shown["streamed_bytes"] * 1.01
    text = CliRunner().invoke(inspect.command, [str(gguf), "--memory", memory, "--n-ctx", "96"]).output
    for words in ("of 8 layers, output head", "read each token", "GB/s, measured", "axiom pack"):
        assert words in text
    whole = CliRunner().invoke(inspect.command, [str(image), "--memory", "16GiB"]).output
    assert "all in memory: nothing is streamed" in whole
    refused = CliRunner().invoke(inspect.command, [str(image), "--memory", "100KiB"])
    assert refused.exit_code == 0
    assert "runs here       yes" in refused.output
    assert "\nto expect  it does not run: streaming the model with 1 x " in refused.output
    refused = CliRunner().invoke(inspect.command, [str(image), "--memory", "100KiB", "--json"])
    shown = json.loads(refused.output)["plan"]
    assert not shown["runs"]
    assert "; use a smaller n_ctx, or a memory budget of " in shown["why_not"]


@pytest.mark.parametrize("backend", NATIVE)
def test_a_runtime_streams_what_is_larger_than_its_memory(backend: str, packed: Packed) -> None:
    gguf, image = packed(fmt="F32", native=True, n_layer=8, n_embd=512, n_ff=1536, n_head=8, n_vocab=1000)
    with axiom.Runtime(gguf, backend=backend, n_ctx=96) as plain:
        expected = plain.generate([7, 8] * 6, max_tokens=40, seed=3, temperature=0.0, ignore_eos=True, receipt=True)
    gc.collect()  # what earlier tests left must not be freed, and the budget be larger, after it has been measured
    taken = axiom.hardware.resident_bytes() or 0
    memory = taken + image.stat().st_size // 2 + (60 << 20)
    with axiom.Runtime(image, backend=backend, memory=memory, n_ctx=96) as streamed:
        assert streamed.is_streamed
        assert streamed.telemetry["info"]["direct_io"] in (True, False)
        got = streamed.generate([7, 8] * 6, max_tokens=40, seed=3, temperature=0.0, ignore_eos=True, receipt=True)
        records, _ = streamed.engine.take_records()
    assert (got.tokens, got.text, got.receipt.links) == (expected.tokens, expected.text, expected.receipt.links)
    assert got.timings.tokens_per_pass >= 1.0
    assert records[:, FIELDS.index("bytes_read")].any()
    with pytest.raises(
        MemoryBudgetError, match=r"needs .* at least, but .* usable; use a smaller n_ctx, or a memory budget of"
    ):
        axiom.Runtime(image, backend=backend, memory=taken + (50 << 20), n_ctx=96)
    with pytest.raises(MemoryBudgetError, match="axiom pack"):
        axiom.Runtime(gguf, backend=backend, memory=memory, n_ctx=96)


# A cache that is large beside the weights, so that the context decides; and weights that are large beside the cache.
LONG = {"fmt": "Q4_0", "n_layer": 8, "n_embd": 512, "n_ff": 512, "n_head": 8, "n_head_kv": 8, "n_ctx": 4096}
DEEP = {"fmt": "F32", "n_layer": 8, "n_embd": 512, "n_ff": 1536, "n_head": 8, "n_vocab": 1000, "n_ctx": 4096}


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("shape", [LONG, DEEP], ids=["long", "deep"])
@pytest.mark.parametrize("wish", [{}, {"n_ctx": 1000}, {"n_seq_max": 3}], ids=repr)
def test_more_memory_never_makes_an_image_fail(
    backend: str, shape: dict[str, Any], wish: dict[str, int], random_model: Callable[..., Path]
) -> None:
    config = ModelConfig.from_gguf(axiom.GGUFFile(random_model(**shape)))
    sizes: dict[str, Any] = {"n_ctx": None, "n_seq_max": None, "kv": "f16", "threads": 2, **wish}
    ways = []
    for half_mib in range(700):
        try:
            capacity, budget, _ = plan_image(config, **sizes, usable_bytes=half_mib << 19)
        except MemoryBudgetError:
            ways.append("refused")
            continue
        ways.append("whole" if budget is None else "streamed")
        assert capacity.n_ctx >= (sizes["n_ctx"] or 256)
    found = [way for way, _ in itertools.groupby(ways)]
    assert found in (["refused", "streamed", "whole"], ["refused", "whole"])


@pytest.mark.parametrize("backend", NATIVE)
@pytest.mark.parametrize("n_ctx", [None, 1000])
@pytest.mark.parametrize("kind", ["gguf", "image"])
def test_the_memory_that_an_error_asks_for_is_enough_and_not_more(
    backend: str, kind: str, n_ctx: int | None, packed: Packed
) -> None:
    gguf, image = packed(**DEEP, native=True)
    path = gguf if kind == "gguf" else image
    gc.collect()
    with pytest.raises(MemoryBudgetError) as refused:
        axiom.Runtime(path, backend=backend, memory="1MiB", n_ctx=n_ctx)
    advice = re.search(r"a memory budget of (\d+)MiB or more", str(refused.value))
    assert advice is not None
    with pytest.raises(MemoryBudgetError):
        axiom.Runtime(path, backend=backend, memory=f"{int(advice[1]) - 10}MiB", n_ctx=n_ctx)
    args = [str(path), "--memory", f"{advice[1]}MiB", "--json", *([] if n_ctx is None else ["--n-ctx", str(n_ctx)])]
    shown = json.loads(CliRunner().invoke(inspect.command, args).output)["plan"]
    with axiom.Runtime(path, backend=backend, memory=f"{advice[1]}MiB", n_ctx=n_ctx) as runtime:
        assert runtime.is_streamed == shown["streams"] == (kind == "image")


def streaming_engine(image: Path, **options: Any) -> Any:
    """An engine that reads most of its layers for every pass."""
    from axiom._native import Engine

    opened = ImageFile(image)
    sizes = {"n_ctx": 96, "n_seq_max": 4, "threads": 2}
    besides = Engine.bytes_besides_weights(ModelConfig.from_gguf(opened).as_dict(), **sizes)
    budget = besides + opened.extents[-1].n_bytes + 4 * opened.extents[1].n_bytes + (1 << 20)
    engine = Engine.from_image(image, budget=budget, **sizes, **options)
    assert engine.info()["n_layer_pinned"] <= 3
    return engine


@pytest.mark.parametrize("backend", NATIVE)
def test_progress_counts_what_is_checked_and_does_not_stay(backend: str, packed: Packed) -> None:
    _, image = packed(fmt="Q4_0", native=True, n_layer=9, n_embd=512, n_ff=1024, n_vocab=2000)
    seen: list[tuple[int, int]] = []
    engine = streaming_engine(image, progress=lambda done, total: seen.append((done, total)))
    embedding, *layers, output = (extent.n_bytes for extent in ImageFile(image).extents)
    total = embedding + engine.info()["n_layer_pinned"] * layers[0] + output
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    engine.close()


@pytest.mark.parametrize("backend", NATIVE)
def test_cancelled_at_any_moment_streaming_goes_on(backend: str, packed: Packed) -> None:
    from axiom._native import StopFlag

    _, image = packed(fmt="Q4_0", native=True, n_layer=9, n_embd=512, n_ff=1024, n_vocab=2000)
    engine = streaming_engine(image)
    expected = np.asarray(engine.forward([engine.seq_new()], [TOKENS], "all"))
    choose, n_stopped = random.Random(1), 0
    for _ in range(1000):
        seq = engine.seq_new()
        try:
            engine.forward([seq], [TOKENS[: choose.randint(1, 8)]], "none", None, StopFlag(choose.random() * 6e-3))
        except PassStopped:
            n_stopped += 1
            assert engine.seq_len(seq) == 0
        engine.seq_free(seq)
    assert n_stopped > 100
    assert (np.asarray(engine.forward([engine.seq_new()], [TOKENS], "all")) == expected).all()
    assert engine.telemetry()["n_retry"] == 0
    engine.close()


@pytest.mark.parametrize("backend", NATIVE)
def test_a_file_that_is_cut_off_while_it_streams(backend: str, packed: Packed, tmp_path: Path) -> None:
    _, image = packed(fmt="Q4_0", native=True, n_layer=9, n_embd=512, n_ff=1024, n_vocab=2000)
    copy = tmp_path / "copy.axiom"
    copy.write_bytes(image.read_bytes())
    engine = streaming_engine(copy)
    expected = np.asarray(engine.forward([engine.seq_new()], [TOKENS], "all"))
    with copy.open("r+b") as file:
        file.truncate(copy.stat().st_size // 2)
    seq = engine.seq_new()
    for _ in range(3):
        with pytest.raises(OSError, match=r"extent \d of the model cannot be read at byte \d+: .* check the disk"):
            engine.forward([seq], [TOKENS], "all")
        assert engine.seq_len(seq) == 0
    copy.write_bytes(image.read_bytes())
    assert (np.asarray(engine.forward([seq], [TOKENS], "all")) == expected).all(), (
        "and when it is whole again, so is the model"
    )
    copy.unlink()
    assert (np.asarray(engine.forward([engine.seq_new()], [TOKENS], "all")) == expected).all(), (
        "what is open stays readable"
    )
    engine.close()


@pytest.mark.parametrize("backend", ENGINES[1:])
def test_an_image_that_was_replaced_since_it_was_opened_is_refused(
    backend: str, packed: Packed, tmp_path: Path
) -> None:
    """By another of the same shape, whose weights would be taken for those of the one that was opened."""
    (_, first), (_, second) = packed(native=True), packed(native=True, seed=1)
    name = tmp_path / "model.axiom"
    name.write_bytes(first.read_bytes())
    opened = ImageFile(name)
    name.unlink()
    name.write_bytes(second.read_bytes())
    with pytest.raises(ModelFormatError, match=r"model\.axiom: expected the image that was opened, got another"):
        axiom.Runtime(opened, backend=backend)
    name.write_bytes(first.read_bytes())
    axiom.Runtime(opened, backend=backend).close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("backend", NATIVE)
def test_after_a_fork_an_image_is_still_read(backend: str, is_streamed: bool, packed: Packed) -> None:
    from axiom._native import Engine

    _, image = packed(fmt="Q4_0", native=True, n_layer=9, n_embd=512, n_ff=1024, n_vocab=2000)
    engine = streaming_engine(image) if is_streamed else Engine.from_image(image, n_ctx=96, n_seq_max=4, threads=2)
    seq = engine.seq_new()
    expected = np.asarray(engine.forward([seq], [TOKENS], "all"))

    def is_right() -> bool:
        engine.seq_rewind(seq, 0)
        return bool((np.asarray(engine.forward([seq], [TOKENS], "all")) == expected).all())

    # Between two passes, the first layers of the next are on their way.
    child = os.fork()
    if child == 0:
        status = 2
        try:
            signal.alarm(20)
            is_same = is_right() and is_right()
            engine.close()
            status = 0 if is_same else 1
        finally:
            os._exit(status)
    assert is_right()
    assert os.waitpid(child, 0)[1] == 0
    assert is_right()
    engine.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_command_line_packs_and_verifies(packed: Packed, tmp_path: Path, backend: str) -> None:
    gguf, image = packed(fmt="Q4_0")
    made = tmp_path / "made.axiom"
    result = CliRunner().invoke(pack.command, [str(gguf), str(made), "--backend", backend], catch_exceptions=False)
    assert result.exit_code == 0
    assert made.read_bytes() == image.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["made.axiom"]
    result = CliRunner().invoke(verify_image.command, [str(made), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    assert '"whole": true' in result.output
    result = CliRunner().invoke(inspect.command, [str(made), "--json"], catch_exceptions=False)
    assert result.exit_code == 0


def test_packing_leaves_nothing_behind_when_it_fails(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf, _ = packed(fmt="Q4_0")
    target = tmp_path / "made.axiom"
    target.write_bytes(b"what was there")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("axiom.image_writer.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        axiom.pack(gguf, target, backend="reference")
    assert [path.name for path in tmp_path.iterdir()] == ["made.axiom"]
    assert target.read_bytes() == b"what was there"
