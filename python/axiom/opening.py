"""Opening a model in a body: how much of it memory allows, and its weights on their way into an engine.

The bare engine opens an image, and so does the native one. Of a GGUF, those of this process are constructed alike:

    Engine(config, tensors, *, n_ctx, n_seq_max, threads, kernels, kv, progress)

where `config` is `ModelConfig.as_dict()` and `tensors` has a `TensorArray` for every tensor of `ModelConfig.tensors`,
in that order; the native engine also takes a `TensorSource`, whose bytes it reads itself. A vector (norm weight, bias,
rope factors) has one row and always comes as F32, widened if the file has it in 16 bits. An engine copies what it
keeps.
"""

from __future__ import annotations

from axiom.body import Backend, load_body
from axiom.capacity import Capacity, plan_capacity, plan_image
from axiom.engine import Engine
from axiom.engine_options import EngineOptions
from axiom.errors import MemoryBudgetError
from axiom.hardware import memory_budget
from axiom.model_file.image_file import ImageFile
from axiom.model_file.model_config import ModelConfig
from axiom.model_file.model_file import ModelFile
from axiom.model_file.tensor_source import tensor_array, tensor_source, unchanged

__all__ = ["open_engine"]


def open_engine(
    model: ModelFile, config: ModelConfig, options: EngineOptions, backend: Backend = "native"
) -> tuple[Engine, Capacity]:
    """Load the weights of `model` into an engine, and say how much it was opened for."""
    if backend == "bare":
        from axiom.bare.opening import open_bare

        return open_bare(model, config, options)
    body = load_body(backend, options.kernels)
    usable = memory_budget(options.memory).usable_bytes
    if isinstance(model, ImageFile) and backend == "native":
        return _open_image(model, config, options, usable)
    capacity = _capacity(config, options, usable, backend)
    if isinstance(model, ImageFile):
        from axiom.reference.image import check_layout

        check_layout(model, config)
    source = tensor_source if backend == "native" else tensor_array
    with unchanged(model):
        tensors = [source(model, spec) for spec in config.tensors]
        if isinstance(model, ImageFile):
            model.release_extent()
        engine = body.engine(
            config.as_dict(),
            tensors,
            n_ctx=capacity.n_ctx,
            n_seq_max=capacity.n_seq_max,
            threads=options.threads,
            kernels=options.kernels,
            kv=options.kv,
            progress=options.progress,
        )
    return engine, capacity


def _capacity(config: ModelConfig, options: EngineOptions, usable: int | None, backend: Backend) -> Capacity:
    """Decide what the weights leave room for in memory."""
    try:
        return plan_capacity(config, **options.sizes, usable_bytes=usable)
    except MemoryBudgetError as error:
        if backend == "native" and _runs_packed(config, options, usable):
            raise MemoryBudgetError(
                f"{error}, or pack the model with `axiom pack`: an image runs from the disk"
            ) from None
        raise


def _runs_packed(config: ModelConfig, options: EngineOptions, usable: int | None) -> bool:
    """Whether an image of the model would run in the memory that there is."""
    try:
        plan_image(config, **options.sizes, usable_bytes=usable, threads=options.threads)
    except MemoryBudgetError:
        return False
    return True


def _open_image(
    model: ImageFile, config: ModelConfig, options: EngineOptions, usable: int | None
) -> tuple[Engine, Capacity]:
    """Open an image in the native body: in memory if it fits, else streamed with as much in memory as fits."""
    from axiom._native import Engine as NativeEngine

    capacity, budget, rows_per_pass = plan_image(config, **options.sizes, usable_bytes=usable, threads=options.threads)
    engine = NativeEngine.from_image(
        model.path,
        n_ctx=capacity.n_ctx,
        n_seq_max=capacity.n_seq_max,
        threads=options.threads,
        kernels=options.kernels,
        kv=options.kv,
        budget=budget,
        rows_per_pass=rows_per_pass,
        root=model.root,
        paranoid=options.paranoid,
        progress=options.progress,
    )
    return engine, capacity
