"""Opening a model in a bare machine: an image of it, and a machine with the memory that it needs."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from axiom.bare.engine import Engine
from axiom.bare.kernel import kernel_file
from axiom.bare.qemu import find_qemu
from axiom.body import host_backend
from axiom.capacity import Capacity, plan_image
from axiom.engine_options import EngineOptions
from axiom.errors import MemoryBudgetError
from axiom.hardware import cpu_budget, memory_budget
from axiom.image_writer import pack
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.image_file import ImageFile
from axiom.model_file.model_config import ModelConfig
from axiom.model_file.model_file import ModelFile

__all__ = ["machine_mib", "open_bare"]

MIB = 1 << 20
# The least that a machine is started with, and what QEMU takes beside the memory of the machine.
LEAST_MIB = 64
_QEMU_BYTES = 96 * MIB
# The kernel itself, messages under way, logits, and states of sequences.
_BESIDES_BYTES = 96 * MIB
# Memory above this lies behind a hole, and only the longer part is used.
_BELOW_HOLE_MIB = 3 << 10


def open_bare(model: ModelFile, config: ModelConfig, options: EngineOptions) -> tuple[Engine, Capacity]:
    """Start a machine that holds `model`, and say how much it was opened for.

    A GGUF is packed first, into a file that is gone when the machine is. Where no memory is asked for, the machine has
    what the model needs, or what there is.
    """
    # Before the model is packed, which may take long.
    kernel_file()
    find_qemu()
    if options.memory is not None and options.memory < LEAST_MIB * MIB:
        raise MemoryBudgetError(
            f"memory: a bare machine needs {LEAST_MIB} MiB at least, got {options.memory / MIB:.1f}; give it more"
        )
    with contextlib.ExitStack() as stack:
        image = model if isinstance(model, ImageFile) else _packed(model, options, stack)
        usable = _usable_bytes(options.memory)
        n_core = options.threads or cpu_budget().n_threads
        capacity, budget, rows_per_pass = plan_image(config, **options.sizes, usable_bytes=usable, threads=n_core)
        if usable is not None and (options.memory is not None or budget is not None):
            mib = usable // MIB
        else:
            mib = machine_mib(image, config, capacity, rows_per_pass, n_core)
        engine = Engine(
            image.path,
            n_vocab=config.n_vocab,
            n_ctx=capacity.n_ctx,
            n_seq_max=capacity.n_seq_max,
            memory_mib=mib,
            n_core=n_core,
            kernels=options.kernels,
            kv=options.kv,
            rows_per_pass=rows_per_pass,
            paranoid=options.paranoid,
            progress=options.progress,
        )
        try:
            image.check_in_place()
        except BaseException:
            engine.close()
            raise
        # The machine has the file open: without its name, it is gone with the machine, however that ends.
        return engine, capacity


def _packed(model: GGUFFile, options: EngineOptions, stack: contextlib.ExitStack) -> ImageFile:
    """Pack a GGUF into an image that is there until the stack is closed."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="axiom-bare-"))
    path = Path(folder) / "model.axiom"
    pack(model, path, backend=host_backend("bare"), threads=options.threads, on_progress=options.progress)
    return ImageFile(path)


def _usable_bytes(memory: int | None) -> int | None:
    """Return the memory that a machine may have: what was asked for, or what there is and QEMU leaves."""
    if memory is not None:
        return memory
    usable = memory_budget().usable_bytes
    return None if usable is None else max(0, usable - _QEMU_BYTES)


def machine_mib(image: ImageFile, config: ModelConfig, capacity: Capacity, rows_per_pass: int, n_core: int) -> int:
    """Return the memory of a machine that holds a model whole. What it does not use costs nothing."""
    from axiom.reference.memory import POSITIONS_PER_SLAB

    weights = sum(at.n_bytes for at in image.extents)
    positions = -(-capacity.n_ctx // POSITIONS_PER_SLAB) * POSITIONS_PER_SLAB * capacity.n_seq_max
    cache = positions * config.kv_bytes_per_position("f32")
    widest = max(config.n_embd, config.n_ff, config.n_head * config.head_dim)
    activations = rows_per_pass * widest * 32 + n_core * 8 * MIB
    logits = 4 * config.n_vocab * max(capacity.n_seq_max, 1) + 16 * MIB
    mib = (weights + cache + activations + logits + _BESIDES_BYTES) * 9 // 8 // MIB
    return int(mib if mib < _BELOW_HOLE_MIB else mib + _BELOW_HOLE_MIB)
