"""Tensors that the native engine reads from files of the caller: which file, what errors name, when it stops."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.model_config import ModelConfig
from axiom.model_file.open_file import FileBytes, OpenFile
from tests.machines import needs_extension
from tests.models import SMALL

pytestmark = needs_extension

MODEL = SMALL
SIZES = {"n_ctx": 64, "n_seq_max": 1, "threads": 2}


@pytest.fixture
def parts(random_model: Callable[..., Path], tmp_path: Path) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """What the constructor takes, but the tensors as paths of files that hold one each."""
    gguf = GGUFFile(random_model(**MODEL))
    config = ModelConfig.from_gguf(gguf)
    tensors: list[tuple[Any, ...]] = []
    for spec in config.tensors:
        path = tmp_path / f"{spec.name}.part"
        path.write_bytes(gguf.tensor_data(spec.name).tobytes())
        tensors.append((spec.name, spec.format.name, spec.rows, spec.cols, path))
    return config.as_dict(), tensors


def opened(tensors: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The tensors in their files, each of which is open no longer than somebody holds it."""
    for *shape, path in tensors:
        yield (*shape, FileBytes(OpenFile(path), 0, path.stat().st_size))


def test_files_that_are_opened_one_after_the_other(
    parts: tuple[dict[str, Any], list[tuple[Any, ...]]], random_model: Callable[..., Path]
) -> None:
    from axiom._native import Engine

    config, tensors = parts
    arrays = [(*shape, np.fromfile(path, np.uint8)) for *shape, path in tensors]
    logits = []
    for source in (arrays, opened(tensors)):
        engine = Engine(config, source, **SIZES)  # type: ignore[arg-type]
        logits.append(np.asarray(engine.forward([engine.seq_new()], [[1, 2, 3]], "all")))
    assert (logits[0] == logits[1]).all()


def test_the_file_that_cannot_be_read_is_named(parts: tuple[dict[str, Any], list[tuple[Any, ...]]]) -> None:
    from axiom._native import Engine, pack_matrix

    config, tensors = parts
    for i in (0, 5, len(tensors) - 1):
        *shape, path = tensors[i]
        whole = path.read_bytes()
        source = list(opened(tensors))
        os.truncate(path, len(whole) - 1)
        cannot = rf"{re.escape(path.name)}: {re.escape(shape[0])}: the tensor cannot be read: the file ends before it"
        with pytest.raises(OSError, match=cannot):
            Engine(config, source, **SIZES)  # type: ignore[arg-type]
        if shape[2] > 1:
            with pytest.raises(OSError, match=cannot):
                pack_matrix(source[i], np.zeros(len(whole) + 16 * shape[3], np.uint8)[: panels(*shape[1:])])
        path.write_bytes(whole)


def panels(fmt: str, rows: int, cols: int) -> int:
    """Bytes of the panels of a matrix."""
    from axiom.reference.format import format_named

    form = format_named(fmt)
    return len(form.pack(np.zeros((rows, form.row_bytes(cols)), np.uint8), cols))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
def test_ctrl_c_ends_a_matrix_in_its_middle() -> None:
    from axiom._native import pack_matrix

    rows, cols = 16_384, 4096
    tensor = ("matrix", "F16", rows, cols, np.full(rows * cols * 2, 7, np.uint8))
    room = np.zeros(rows * cols * 2, np.uint8)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        with pytest.raises(KeyboardInterrupt):
            pack_matrix(tensor, room, 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not room[-4096:].any(), "what comes last was still packed"
