"""Images: the same bytes from both bodies, the same logits as the GGUF, in memory or streamed; damage is found."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import re
import signal
import tracemalloc
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
from axiom.errors import AxiomError, MemoryBudgetError, ModelFormatError, PassStopped
from axiom.model_file.image_file import HEADER_BYTES, ROOT_OFFSET, ImageFile, image_digest
from axiom.model_file.model_config import ModelConfig
from axiom.opening import open_engine
from axiom.reference.image import blake3
from tests.backends import BACKENDS, ENGINES

FORMATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
SMALL = {"n_layer": 3, "n_embd": 256, "n_ff": 256, "n_head": 4, "n_head_kv": 2, "n_vocab": 300, "n_ctx": 96}
TOKENS = [5, 9, 250, 3, 77, 12, 1, 290]
NATIVE = BACKENDS[1:]
Packed = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="module")
def packed(random_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """`packed(fmt=..., ...)`: a random GGUF, and its image."""
    folder = tmp_path_factory.mktemp("images")
    made: dict[Path, Path] = {}

    def get(native: bool = False, **kwargs: Any) -> tuple[Path, Path]:
        gguf = random_model(**{**SMALL, **kwargs})
        if gguf not in made:
            made[gguf] = axiom.pack(gguf, folder / f"{len(made)}.axiom", backend="native" if native else "reference")
        return gguf, made[gguf]

    return get


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


def refusal(path: Path, backend: str) -> str | None:
    """What keeps an image from being opened and computed from, or None."""
    try:
        with axiom.Runtime(path, backend=backend) as runtime:
            runtime.logits(TOKENS[:2])
    except (AxiomError, ValueError) as error:
        return str(error)
    return None


def is_refused(path: Path, backend: str) -> bool:
    """Whether an image is refused, with one clear line that says what to do."""
    said = refusal(path, backend)
    return said is not None and "\n" not in said and any(word in said for word in ("again", "give the path", "update"))


@pytest.mark.parametrize("backend", NATIVE)
def test_every_truncated_image_is_refused(backend: str, packed: Packed, tmp_path: Path) -> None:
    _, image = packed(fmt="Q4_0", n_layer=1)
    whole = image.read_bytes()
    path = tmp_path / "cut.axiom"
    choose = random.Random(1)
    lengths = [0, 1, 7, 8, 4095, 4096, len(whole) - 1, *(choose.randrange(len(whole)) for _ in range(993))]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert is_refused(path, backend), f"{length} of {len(whole)} bytes"
    path.write_bytes(whole + b"\0")
    assert is_refused(path, backend), "a byte too many"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flipped_bit_anywhere_is_found(backend: str, packed: Packed, tmp_path: Path) -> None:
    _, image = packed(fmt="Q4_0", n_layer=2)
    whole = image.read_bytes()
    opened = ImageFile(image)
    path = tmp_path / "flipped.axiom"
    choose = random.Random(2)
    head_end = opened.extents[0].offset
    places = [0, 8, 16, 24, 32, 96, 104, 168, ROOT_OFFSET, HEADER_BYTES, head_end - 1]
    places += [choose.randrange(head_end) for _ in range(40)]
    for at in opened.extents:
        places += [at.offset, at.offset + at.n_bytes - 1, *(at.offset + choose.randrange(at.n_bytes) for _ in range(5))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        assert is_refused(path, backend), f"byte {place}"
        result = CliRunner().invoke(verify_image.command, [str(path)])
        assert result.exit_code == 1, f"byte {place}"


def sealed(forged: bytearray, path: Path) -> Path:
    """Writes an image whose head has been changed, under a digest of that."""
    n_head = int.from_bytes(forged[24:32], "little")
    forged[ROOT_OFFSET:HEADER_BYTES] = image_digest(bytes(forged[:ROOT_OFFSET] + forged[HEADER_BYTES:n_head]))
    path.write_bytes(forged)
    return path


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (24, 4096 + 512, "length of the head: expected a multiple of 4096 up to"),
        (32, 1 << 63, "section of the metadata: expected a place in the head"),
        (48, 0, "section of the directory: expected a place in the head"),
        (56, 48, "length of the directory: expected"),
        (64, 1 << 40, "section of the names: expected a place in the head"),
        (80, (1 << 64) - 1, "section of the extents: expected a place in the head"),
        (88, 47, "length of the table of extents: expected entries of 48 bytes"),
        (96, 1 << 62, "length of the directory: expected"),
        (None, 1 << 62, "extent 0: expected a place in the file"),
    ],
)
def test_claims_under_a_right_digest_are_checked(
    place: int | None, number: int, message: str, packed: Packed, tmp_path: Path
) -> None:
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    table = int.from_bytes(forged[80:88], "little")
    at = table if place is None else place
    forged[at : at + 8] = number.to_bytes(8, "little")
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=message):
        ImageFile(path)


# A field of 8 bytes of the configuration or of an entry, its number, and what is said of it.
FORGED = {
    "other pairing": (("config", 9), 1, "rope_pairing of the configuration: expected 0, as the metadata say, got 1"),
    "no pairing": (("config", 9), 7, "rope_pairing"),
    "other base": (
        ("config", 8),
        0x40F86A0000000000,
        "rope_base of the configuration: expected 10000.0, .* got 100000",
    ),
    "a flag of later": (("config", 18), 4, "flags of the configuration: expected 0, as the metadata say, got 4"),
    "a tensor elsewhere": (("fourth tensor", 4), 1024, "blk.0.attn_k.weight.*expected .* bytes at .* of extent 1, got"),
    "a tensor cut": (("fourth tensor", 5), 64, "blk.0.attn_k.weight.*expected .* of extent 1, got 64 bytes"),
    "extents that overlap": (("extent", 0), 20480, "(place of an extent|extent 1): expected"),
    "a long extent": (("extent", 1), 4096 * 9, "(length of an extent|extent 0): expected .* got 36864"),
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_that_contradicts_itself_is_refused_by_every_body(
    backend: str, case: str, packed: Packed, tmp_path: Path
) -> None:
    (table, field), number, message = FORGED[case]
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    directory, extents = (int.from_bytes(forged[at : at + 8], "little") for at in (48, 80))
    at = {"config": 168, "fourth tensor": directory + 3 * 48, "extent": extents}[table] + 8 * field
    forged[at : at + 8] = number.to_bytes(8, "little")
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=message):
        axiom.Runtime(path, backend=backend)
    if "native" in backend:
        from axiom._native import Engine

        # The core reads no metadata, and finds what its own part of the head says.
        if case not in ("other pairing", "other base"):
            with pytest.raises(ModelFormatError):
                Engine.from_image(path, n_ctx=16, n_seq_max=1)


def test_an_image_is_verified_in_bounded_memory(packed: Packed, tmp_path: Path) -> None:
    """Of a file with holes, anything may be claimed to be padding, or an extent."""
    _, image = packed(fmt="Q4_0", n_layer=1)
    whole, hole = image.read_bytes(), 256 << 20
    n_file, (n_head, table) = len(whole), (int.from_bytes(whole[at : at + 8], "little") for at in (24, 80))
    n_extents, last = len(ImageFile(image).extents), ImageFile(image).extents[-1]

    def with_a_hole(path: Path, *numbers: tuple[int, int]) -> Path:
        forged = bytearray(whole[:n_head])
        for at, number in ((16, n_file + hole), *numbers):
            forged[at : at + 8] = number.to_bytes(8, "little")
        with sealed(forged, path).open("r+b") as file:
            file.truncate(n_file + hole)
            file.seek(n_head + hole)
            file.write(whole[n_head:])
        return path

    moved = [(table + 48 * i, at.offset + hole) for i, at in enumerate(ImageFile(image).extents)]
    gap = with_a_hole(tmp_path / "gap.axiom", *moved)
    long = with_a_hole(tmp_path / "long.axiom", (table + 48 * (n_extents - 1) + 8, last.n_bytes + hole))
    tracemalloc.start()
    try:
        opened = ImageFile(gap)
        assert all(right for _, right in opened.verify())
        assert opened.padding_is_zero()
        with pytest.raises(ModelFormatError, match=rf"extent {n_extents - 1}: expected {last.n_bytes} bytes at"):
            list(ImageFile(long).verify())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    with gap.open("r+b") as file:
        file.seek(n_head + hole - 1)
        file.write(b"\1")
    assert not ImageFile(gap).padding_is_zero()


def test_metadata_that_are_damaged_are_named_by_their_byte_in_the_file(packed: Packed, tmp_path: Path) -> None:
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    metadata = int.from_bytes(forged[32:40], "little")
    forged[metadata + 16] = 0xFF
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=f"byte {metadata + 8}: name of metadata key 0: expected UTF-8"):
        ImageFile(path)


def test_an_image_of_a_later_version_says_so(packed: Packed, tmp_path: Path) -> None:
    whole = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    whole[8] = 2
    path = tmp_path / "later.axiom"
    path.write_bytes(whole)
    with pytest.raises(ModelFormatError, match="version: expected 1, which this program reads, got 2; update"):
        ImageFile(path)


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
