"""The one place where the bodies meet: what an engine can do, and how one is opened.

`Engine` is a protocol. `axiom._native.Engine` (Rust), `axiom.reference.Engine` (numpy) and `axiom.bare.engine.Engine`
(Rust, in a virtual machine without an operating system) fulfil it with the same results to the last bit, and everything
above, from `Runtime` to the command line, is written once over it.

The bare engine opens an image. The other two are constructed alike:

    Engine(config, tensors, *, n_ctx, n_seq_max, threads, kernels, kv, progress)

where `config` is `ModelConfig.as_dict()` and `tensors` lists `(name, format, rows, cols, data)` for every tensor of
`ModelConfig.tensors`, in that order: `format` is the name of a `TensorFormat`, `data` the bytes as a read-only uint8
array. A vector (norm weight, bias, rope factors) has one row and always comes as F32, widened here if the file has it
in 16 bits. An engine copies what it keeps: the arrays may be views of a mapped file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from axiom.body import Backend, load_body
from axiom.capacity import WORK_BYTES, Capacity, plan_capacity, plan_image
from axiom.errors import MemoryBudgetError
from axiom.gguf_types import TensorFormat
from axiom.hardware import memory_budget
from axiom.image_file import ImageFile
from axiom.model_config import KVFormat, ModelConfig, TensorSpec
from axiom.model_file import ModelFile

__all__ = [
    "Engine",
    "EngineTensor",
    "LogitRows",
    "engine_tensor",
    "open_engine",
]

LogitRows = Literal["last", "all", "none"] | Sequence[int]
EngineTensor = tuple[str, str, int, int, "npt.NDArray[np.uint8]"]
Progress = Callable[[int, int], None]

# Bytes of a mapped file that may stay in memory after they have been packed.
_RELEASE_BYTES = 16 << 20


class Engine(Protocol):
    """A model loaded into one body: sequences of positions, and the forward pass that appends to them.

    A sequence is named by a small integer. Not thread-safe; `axiom.Runtime` holds a lock around it.
    """

    @property
    def n_ctx(self) -> int:
        """Most positions of one sequence."""
        ...

    @property
    def n_vocab(self) -> int:
        """Length of a row of logits."""
        ...

    @property
    def n_seq_max(self) -> int:
        """Most sequences at a time."""
        ...

    def seq_new(self) -> int:
        """Open an empty sequence. Raises `MemoryBudgetError` when all `n_seq_max` are taken."""
        ...

    def seq_free(self, seq: int, /) -> None:
        """Close a sequence and free its positions."""
        ...

    def seq_fork(self, seq: int, /) -> int:
        """Open a new sequence with the same positions as `seq`; later appends to either leave the other alone."""
        ...

    def seq_len(self, seq: int, /) -> int:
        """Count the positions of a sequence."""
        ...

    def seq_rewind(self, seq: int, n_pos: int, /) -> None:
        """Keep the first `n_pos` positions."""
        ...

    def seq_save(self, seq: int, /) -> bytes:
        """Return the state of a sequence, the same bytes from every body."""
        ...

    def seq_load(self, state: bytes, /) -> int:
        """Open a new sequence from what `seq_save` returned.

        Raises `ValueError` if that is damaged or of another model.
        """
        ...

    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: LogitRows = "last",
        out: npt.NDArray[np.float32] | None = None,
        stop: Any = None,
    ) -> npt.NDArray[np.float32]:
        """Append `tokens[i]` to sequence `seqs[i]` for every i, in one pass; return logits, f32 `[n_rows, n_vocab]`.

        Rows are the last position of each sequence in the order of `seqs` ("last"), every new position in the same
        order ("all"), none ("none"), or the last `logits[i]` new positions of `seqs[i]`. The bits of a row do not
        depend on what else is in the pass. Ctrl-C is honoured at layer boundaries, and so is `stop`, a flag of the
        same body, with `PassStopped`; every sequence then has the positions that it had before.
        """
        ...

    def telemetry(self) -> dict[str, Any]:
        """Return times and counts of the passes so far."""
        ...

    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the records of the layers since the last call, uint64 `[n, 16]`, and how many before were lost.

        `axiom.telemetry.FIELDS` names the columns.
        """
        ...

    def info(self) -> dict[str, Any]:
        """Return what was chosen at start: kernel table, threads, bytes."""
        ...

    def close(self) -> None:
        """Free everything. Closing twice does nothing."""
        ...


def open_engine(
    model: ModelFile,
    config: ModelConfig,
    *,
    n_ctx: int | None = None,
    threads: int | None = None,
    kernels: str | None = None,
    kv: KVFormat = "f16",
    backend: Backend = "native",
    n_seq_max: int | None = None,
    memory: int | None = None,
    paranoid: bool = False,
    progress: Progress | None = None,
) -> tuple[Engine, Capacity]:
    """Load the weights of `model` into an engine, and say how much it was opened for.

    `memory` is a ceiling on the resident set of the process, in bytes. `progress(n_done, n_total)` counts bytes of
    weights while they load.
    """
    if kv not in ("f16", "f32"):
        raise ValueError(f"kv: expected 'f16' or 'f32', got {kv!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads: expected a positive number, got {threads}")
    if backend == "bare":
        from axiom.bare.opening import open_bare

        return open_bare(
            model,
            config,
            n_ctx=n_ctx,
            n_seq_max=n_seq_max,
            kv=kv,
            memory=memory,
            threads=threads,
            kernels=kernels,
            paranoid=paranoid,
            progress=progress,
        )
    engine_class = load_body(backend).engine
    usable = memory_budget(memory).usable_bytes
    if isinstance(model, ImageFile) and backend == "native":
        return _open_image(
            model, config, n_ctx, n_seq_max, kv, usable, progress, threads=threads, kernels=kernels, paranoid=paranoid
        )
    try:
        capacity = plan_capacity(config, n_ctx=n_ctx, kv=kv, n_seq_max=n_seq_max, usable_bytes=usable)
    except MemoryBudgetError as error:
        if backend == "native" and config.weight_bytes + WORK_BYTES > (usable or 0):
            raise MemoryBudgetError(
                f"{error}, or pack the model with `axiom pack`: an image runs from the disk"
            ) from None
        raise
    engine = engine_class(
        config.as_dict(),
        [engine_tensor(model, spec) for spec in config.tensors],
        n_ctx=capacity.n_ctx,
        n_seq_max=capacity.n_seq_max,
        threads=threads,
        kernels=kernels,
        kv=kv,
        progress=_releasing(model, progress),
    )
    model.release_pages()
    return engine, capacity


def _open_image(
    model: ImageFile,
    config: ModelConfig,
    n_ctx: int | None,
    n_seq_max: int | None,
    kv: KVFormat,
    usable: int | None,
    progress: Progress | None,
    **options: Any,
) -> tuple[Engine, Capacity]:
    """Open an image in the native body: in memory if it fits, else streamed with as much in memory as fits."""
    from axiom._native import Engine as NativeEngine

    capacity, budget, rows_per_pass = plan_image(
        config, n_ctx=n_ctx, kv=kv, n_seq_max=n_seq_max, usable_bytes=usable, threads=options["threads"]
    )
    engine = NativeEngine.from_image(
        model.path,
        n_ctx=capacity.n_ctx,
        n_seq_max=capacity.n_seq_max,
        kv=kv,
        budget=budget,
        rows_per_pass=rows_per_pass,
        progress=progress,
        **options,
    )
    return engine, capacity


def _releasing(model: ModelFile, progress: Progress | None) -> Progress:
    """Give pages of the file back as they have been packed, so that a model is not in memory twice while it loads."""
    n_released = 0

    def on_progress(n_done: int, n_total: int) -> None:
        nonlocal n_released
        if n_done - n_released >= _RELEASE_BYTES:
            n_released = n_done
            model.release_pages()
        if progress is not None:
            progress(n_done, n_total)

    return on_progress


def engine_tensor(model: ModelFile, spec: TensorSpec) -> EngineTensor:
    """Return a tensor as engines take it: a vector in f32, a matrix as the GGUF has it."""
    stored = model.tensor_data(spec.name)
    if not spec.is_vector or spec.format is TensorFormat.F32:
        return spec.name, spec.format.name, spec.rows, spec.cols, stored
    if spec.format is TensorFormat.F16:
        wide = stored.view("<f2").astype("<f4")
    else:
        wide = (stored.view("<u2").astype("<u4") << 16).view("<f4")
    return spec.name, TensorFormat.F32.name, spec.rows, spec.cols, wide.view(np.uint8)
