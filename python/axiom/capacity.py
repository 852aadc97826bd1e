"""How much of a model, and how long a context, the memory that there is holds: decided from the header alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from axiom.body import require_extension
from axiom.errors import ContextLengthError, MemoryBudgetError
from axiom.hardware import resident_bytes
from axiom.model_file.model_config import KVFormat, ModelConfig
from axiom.record import Record

__all__ = [
    "ROWS_RESIDENT",
    "ROWS_STREAMED",
    "Capacity",
    "StreamingPlan",
    "is_streamed",
    "plan_capacity",
    "plan_image",
    "plan_streamed",
]

ROWS_RESIDENT, ROWS_STREAMED = 256, 512
"""Tokens of one reading of the weights: many where a reading is dear."""

# Room for activations, logits and tables beside weights and cache.
_WORK_BYTES = 64 << 20
# Memory that streaming leaves alone: logits, receipts, what Python itself grows by.
_RESERVE_BYTES = 48 << 20
# By how much a budget that is told is rounded up, since a process is not of the same size each time.
_BUDGET_ROUND_MIB = 4
# Positions below which a context is not made smaller to fit, unless that is wished.
_LEAST_POSITIONS = 256
# Sequences that a runtime holds at once, where memory allows.
_DEFAULT_SEQUENCES = 16

Bound = Literal["request", "model", "sliding window", "memory"]


class Capacity(Record):
    """How much an engine is opened for, and what bounded it."""

    n_ctx: int
    n_seq_max: int
    weight_bytes: int
    kv_bytes_per_sequence: int
    usable_bytes: int | None
    """Memory there was to plan with, or None if the system does not say."""
    bounded_by: Bound


def plan_capacity(
    config: ModelConfig,
    *,
    n_ctx: int | None,
    kv: KVFormat,
    n_seq_max: int | None = None,
    usable_bytes: int | None = None,
) -> Capacity:
    """Decide context length and number of sequences, in the memory that there is.

    `n_ctx=None` takes the model's own length, or as much of it as fits for one sequence, but no less than 256
    positions. An explicit `n_ctx` is kept or refused: with `ContextLengthError` beyond what the model can do, with
    `MemoryBudgetError` beyond memory. `usable_bytes=None` does not bound.
    """
    least, n_seq = _least_sizes(config, n_ctx, n_seq_max)
    per_position = config.kv_bytes_per_position(kv)
    bounded_by: Bound = "request"
    if n_ctx is None:
        n_ctx = config.n_ctx_max
        bounded_by = "model" if n_ctx == config.n_ctx_train else "sliding window"
    if usable_bytes is None:
        n_seq_max = n_seq_max or _DEFAULT_SEQUENCES
    else:
        left = usable_bytes - config.weight_bytes - _WORK_BYTES
        most = max(0, left) // (per_position * n_seq)
        if most < least:
            raise _over_budget(config, least, n_seq, _resident_least(config, least, n_seq, kv), usable_bytes, most)
        if n_ctx > most:
            n_ctx, bounded_by = most, "memory"
        # More than one sequence is a convenience: it may reserve half of what is left, and no more.
        n_seq_max = n_seq_max or max(1, min(_DEFAULT_SEQUENCES, left // 2 // (per_position * n_ctx)))
    return Capacity(n_ctx, n_seq_max, config.weight_bytes, per_position * n_ctx, usable_bytes, bounded_by)


class StreamingPlan(Record):
    """What a model that is larger than memory keeps there, and what it reads for every token."""

    capacity: Capacity
    budget_bytes: int
    """What the engine may take: what is usable, less what it leaves to Python."""
    besides_bytes: int
    """Of it, cache and activations."""
    pinned: tuple[bool, ...]
    """For the embedding, each layer and the output, whether it stays in memory."""
    pinned_bytes: int
    n_landing: int
    landing_bytes: int
    """Bytes of each slot that other layers are read into."""
    rows_bytes: int
    """Room for rows of an embedding that is not pinned."""
    streamed_bytes: int
    """Bytes that every pass reads."""

    @property
    def n_layer_pinned(self) -> int:
        """Layers that stay in memory."""
        return sum(self.pinned[1:-1])


def plan_streamed(
    config: ModelConfig,
    *,
    n_ctx: int | None,
    kv: KVFormat,
    n_seq_max: int | None,
    usable_bytes: int,
    threads: int | None = None,
) -> StreamingPlan:
    """Decide what of a model stays in memory, and for which context.

    What cache and activations do not take holds weights, and each byte of those is one less to read for every token: so
    without a wish there is one sequence, of as many positions as an eighth of the memory holds, but no less than 256.
    Raises `MemoryBudgetError` where a wish leaves too little for the parts that must be in memory.
    """
    from axiom.reference.memory import POSITIONS_PER_SLAB
    from axiom.reference.model.plan import MemoryPlan

    least, n_seq = _least_sizes(config, n_ctx, n_seq_max)
    per_position = config.kv_bytes_per_position(kv)
    needed = _streamed_least(config, least, n_seq, kv, threads)
    room = usable_bytes - needed
    if room < 0:
        raise MemoryBudgetError(
            f"streaming the model with {n_seq} x {least} positions needs {_size(needed)} at least, but "
            f"{_size(usable_bytes)} are usable; use a smaller n_ctx, or a memory budget of {_budget(needed)} or more"
        )
    if n_ctx is None:
        # The cache grows by slabs, of which the first may be half empty: a slab less is sure to fit.
        most = least + max(0, room // (per_position * n_seq) - POSITIONS_PER_SLAB)
        n_ctx = min(config.n_ctx_max, most, max(least, usable_bytes // 8 // (per_position * n_seq)))
    budget, besides = usable_bytes - _RESERVE_BYTES, _besides_weights(config, n_ctx, n_seq, kv, threads)
    extents, panel_bytes = _extents(config)
    plan = MemoryPlan.fit(extents, panel_bytes, config.tied_output, budget - besides)
    weights = sum(size for size, is_pinned in zip(extents, plan.is_pinned, strict=True) if is_pinned)
    return StreamingPlan(
        Capacity(n_ctx, n_seq, plan.n_bytes, per_position * n_ctx, usable_bytes, "memory"),
        budget,
        besides,
        tuple(plan.is_pinned),
        weights,
        plan.n_landing,
        plan.bytes_landing,
        0 if plan.is_pinned[0] else plan.bytes_rows,
        plan.bytes_streamed,
    )


def plan_image(
    config: ModelConfig,
    *,
    n_ctx: int | None,
    kv: KVFormat,
    n_seq_max: int | None,
    usable_bytes: int | None,
    threads: int | None,
) -> tuple[Capacity, int | None, int]:
    """Decide how an image is opened: for how much, with what budget, or None if all of it fits, and rows of a pass.

    Raises as `plan_capacity` and `plan_streamed`.
    """
    if usable_bytes is None or not is_streamed(
        config, n_ctx=n_ctx, kv=kv, n_seq_max=n_seq_max, usable_bytes=usable_bytes, threads=threads
    ):
        capacity = plan_capacity(config, n_ctx=n_ctx, kv=kv, n_seq_max=n_seq_max, usable_bytes=usable_bytes)
        return capacity, None, ROWS_RESIDENT
    plan = plan_streamed(config, n_ctx=n_ctx, kv=kv, n_seq_max=n_seq_max, usable_bytes=usable_bytes, threads=threads)
    return plan.capacity, plan.budget_bytes, ROWS_STREAMED


def is_streamed(
    config: ModelConfig,
    *,
    n_ctx: int | None,
    kv: KVFormat,
    n_seq_max: int | None,
    usable_bytes: int,
    threads: int | None = None,
) -> bool:
    """Whether an image is streamed: where it does not fit whole with the context asked for, or with 256 positions.

    What fits neither way counts as what needs less. Raises where no memory could meet a wish.
    """
    least, n_seq = _least_sizes(config, n_ctx, n_seq_max)
    resident = _resident_least(config, least, n_seq, kv)
    return usable_bytes < resident and resident >= _streamed_least(config, least, n_seq, kv, threads)


def _least_sizes(config: ModelConfig, n_ctx: int | None, n_seq_max: int | None) -> tuple[int, int]:
    """Return the least positions and sequences that meet a wish. Raises where no memory could meet it."""
    if n_ctx is not None and n_ctx < 1:
        raise ValueError(f"n_ctx: expected a positive number of positions, got {n_ctx}")
    if n_seq_max is not None and n_seq_max < 1:
        raise ValueError(f"n_seq_max: expected a positive number of sequences, got {n_seq_max}")
    if n_ctx is not None and n_ctx > config.n_ctx_max:
        why = "was trained for" if config.sliding_window is None else "attends to alike in full and windowed attention"
        raise ContextLengthError(
            f"n_ctx={n_ctx}, but the model has {config.n_ctx_max} positions that it {why}; "
            f"use n_ctx={config.n_ctx_max} or less"
        )
    return n_ctx or min(config.n_ctx_max, _LEAST_POSITIONS), n_seq_max or 1


def _resident_least(config: ModelConfig, n_ctx: int, n_seq: int, kv: KVFormat) -> int:
    """Return the usable bytes below which a model does not run with all of its weights in memory."""
    return config.weight_bytes + _WORK_BYTES + n_ctx * n_seq * config.kv_bytes_per_position(kv)


def _streamed_least(config: ModelConfig, n_ctx: int, n_seq: int, kv: KVFormat, threads: int | None) -> int:
    """Return the usable bytes below which a model cannot be streamed."""
    from axiom.reference.model.plan import MemoryPlan

    weights = MemoryPlan.smallest(*_extents(config), config.tied_output).n_bytes
    return _RESERVE_BYTES + _besides_weights(config, n_ctx, n_seq, kv, threads) + weights


def _besides_weights(config: ModelConfig, n_ctx: int, n_seq: int, kv: KVFormat, threads: int | None) -> int:
    """Return the bytes that cache and activations take where weights are streamed."""
    require_extension("give it the memory for all of the weights")
    from axiom._native import Engine

    return Engine.bytes_besides_weights(
        config.as_dict(), n_ctx=n_ctx, n_seq_max=n_seq, kv=kv, rows_per_pass=ROWS_STREAMED, threads=threads
    )


def _extents(config: ModelConfig) -> tuple[Sequence[int], int]:
    """Return the bytes of the embedding, of each layer and of the output, and those of a panel of the embedding."""
    from axiom.reference.image.layout import model_layout, packed_bytes

    embedding = next(spec for spec in config.tensors if spec.name == "token_embd.weight")
    return model_layout(config, config.tensors).extents, packed_bytes(embedding) // -(-embedding.rows // 16)


def _over_budget(
    config: ModelConfig, n_ctx: int, n_seq: int, needed: int, usable_bytes: int, most: int
) -> MemoryBudgetError:
    remedies = [f"use n_ctx={most} or less"] if most >= 1 else ["use a smaller model or a smaller weight format"]
    if n_seq > 1:
        remedies.append(f"fewer than n_seq_max={n_seq} sequences")
    remedies.append(f"a memory budget of {_budget(needed)} or more")
    return MemoryBudgetError(
        f"weights of {_size(config.weight_bytes)} and a cache of {n_seq} x {n_ctx} positions need {_size(needed)} "
        f"with what computing takes, but {_size(usable_bytes)} of memory are usable; {', or '.join(remedies)}"
    )


def _budget(n_bytes: int) -> str:
    """A ceiling below which so much is usable: what the process has taken already is below it too."""
    return f"{((n_bytes + (resident_bytes() or 0)) >> 20) + _BUDGET_ROUND_MIB}MiB"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.2f} GiB" if n_bytes >= 1 << 30 else f"{n_bytes / (1 << 20):.1f} MiB"
