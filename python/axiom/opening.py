"""Opening a model in a body: how much of it memory allows, and its weights on their way into an engine.

The bare engine opens an image, and so does the native one. Of a GGUF, those of this process are constructed alike:

    Engine(config, tensors, *, n_ctx, n_seq_max, threads, kernels, kv, progress)

where `config` is `ModelConfig.as_dict()` and `tensors` has a `TensorArray` for every tensor of `ModelConfig.tensors`,
in that order; the native engine also takes a `TensorSource`, whose bytes it reads itself. A vector (norm weight, bias,
rope factors) has one row and always comes as F32, widened if the file has it in 16 bits. An engine copies what it
keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axiom.body import Backend, load_body
from axiom.capacity import WORK_BYTES, Capacity, plan_capacity, plan_image
from axiom.engine import Engine
from axiom.errors import MemoryBudgetError
from axiom.hardware import memory_budget
from axiom.model_file.image_file import ImageFile
from axiom.model_file.model_config import KVFormat, ModelConfig
from axiom.model_file.model_file import ModelFile
from axiom.model_file.tensor_source import tensor_array, tensor_source, unchanged

__all__ = ["open_engine"]

Progress = Callable[[int, int], None]


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
    if isinstance(model, ImageFile):
        from axiom.reference.image import check_layout

        check_layout(model, config)
    source = tensor_source if backend == "native" else tensor_array
    with unchanged(model):
        tensors = [source(model, spec) for spec in config.tensors]
        if isinstance(model, ImageFile):
            model.release_extent()
        engine = engine_class(
            config.as_dict(),
            tensors,
            n_ctx=capacity.n_ctx,
            n_seq_max=capacity.n_seq_max,
            threads=threads,
            kernels=kernels,
            kv=kv,
            progress=progress,
        )
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
        root=model.root,
        progress=progress,
        **options,
    )
    return engine, capacity
