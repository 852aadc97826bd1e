"""The pools and the lock of the core against their twins: the same random programs, every answer and state compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from axiom.model_file.model_config import ModelConfig
from axiom.reference.memory import ActivationPool, KVCachePool, WeightPool
from axiom.reference.schedule import LayerLock
from tests.machines import PROGRAMS, Answers, Step, native, needs_extension, said, slot_states

pytestmark = needs_extension


def weight_pool(n_slot: int, program: list[Step]) -> Answers:
    pool = WeightPool(n_slot)
    answers = []
    for request, slot, extent in program:
        if request == "slot_of":
            found = pool.slot_of(extent)
            answer = "none" if found is None else str(found)
        elif request == "start":
            answer = said(lambda slot=slot, extent=extent: pool.start(slot, extent))
        else:
            answer = said(lambda request=request, slot=slot: getattr(pool, request)(slot))
        answers.append((answer, slot_states(pool)))
    return answers


SLOT_REQUESTS = ["start", "finish", "fail", "begin", "end", "unload", "pin", "slot_of"]


@PROGRAMS
@given(
    st.integers(1, 4).flatmap(
        lambda n_slot: st.tuples(
            st.just(n_slot),
            st.lists(
                st.tuples(st.sampled_from(SLOT_REQUESTS), st.integers(0, n_slot - 1), st.integers(0, 5)), max_size=40
            ),
        )
    )
)
def test_weight_pool(drawn: tuple[int, list[Step]]) -> None:
    n_slot, program = drawn
    assert native("weight_pool", [n_slot], program) == weight_pool(n_slot, program)


def test_a_slot_goes_all_the_way_round() -> None:
    requests = ["start", "finish", "begin", "end", "start", "fail", "start", "finish", "pin", "begin", "end", "unload"]
    answers = weight_pool(1, [(request, 0, 7) for request in requests])
    states = ["Streaming 7", "Resident 7", "Computing 7", "Unloaded", "Streaming 7", "Unloaded", "Streaming 7"]
    states += ["Resident 7", "Resident 7", "Computing 7", "Resident 7", "Resident 7"]
    assert [state for _, state in answers] == states
    assert answers[-1][0].startswith("weight slot 0 is Resident, pinned and cannot unload")


def activation_pool(program: list[Step]) -> Answers:
    pool = ActivationPool()
    answers = []
    for request, position, _ in program:
        answer = said(lambda request=request, position=position: getattr(pool, request)(position))
        answers.append((answer, f"{pool.first} ... {pool.end_}"))
    return answers


@PROGRAMS
@given(st.lists(st.tuples(st.sampled_from(["begin", "end"]), st.integers(0, 6), st.just(0)), max_size=40))
def test_activation_pool(program: list[Step]) -> None:
    assert native("activation_pool", [], program) == activation_pool(program)


@PROGRAMS
@given(st.lists(st.sampled_from(["begin", "end", "again"]), max_size=60))
def test_activation_pool_in_step(moves: list[str]) -> None:
    """Programs that mostly do what is allowed, so that positions far from 0 are reached."""
    program, first, end = [], 0, 0
    for move in moves:
        if move == "again":
            program.append(("begin", 0, 0))
            first, end = 0, 1
        elif move == "begin":
            program.append(("begin", end, 0))
            end += end - first < 3
        else:
            program.append(("end", first, 0))
            first += first < end
    assert native("activation_pool", [], program) == activation_pool(program)


def layer_lock(program: list[Step]) -> Answers:
    lock = LayerLock()
    answers = []
    for request, number, now_us in program:
        if request == "acquire":
            answer = said(lambda layer=number: lock.acquire(layer))
        elif request == "release":
            answer = said(lambda layer=number: lock.release(layer))
        elif request == "abandon":
            answer = said(lock.abandon)
        elif request == "tick":
            answer = said(lambda now_us=now_us: lock.tick(now_us))
        else:
            answer = " ".join(map(str, lock.yield_at_layer_boundary(now_us)))
        held = "none" if lock.held is None else str(lock.held)
        answers.append((answer, f"{held} {lock.n_deferred_ever} {lock.longest_deferral_us}"))
    return answers


@PROGRAMS
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "release", "abandon", "tick", "tick", "yield"]),
            st.integers(0, 3),
            st.integers(0, 50),
        ),
        max_size=40,
    )
)
def test_layer_lock(steps: list[Step]) -> None:
    # Time never goes back.
    program, now_us = [], 0
    for request, number, later_us in steps:
        now_us += later_us
        program.append((request, number, now_us))
    assert native("layer_lock", [], program) == layer_lock(program)


def test_ticks_inside_a_layer_wait_for_its_boundary() -> None:
    program = [("acquire", 4, 100), ("tick", 0, 110), ("tick", 0, 150), ("yield", 0, 160), ("release", 4, 170)]
    program += [("tick", 0, 175), ("yield", 0, 180), ("yield", 0, 190)]
    assert [answer for answer, _ in layer_lock(program)] == ["done"] * 3 + ["0 0 0", "done", "done", "3 2 70", "0 0 0"]


def kv_cache_pool(n_ctx: int, n_seq_max: int, program: list[Step]) -> Answers:
    config = cast(ModelConfig, SimpleNamespace(n_layer=1, n_head_kv=1, head_dim=1))
    pool = KVCachePool(config, n_ctx, n_seq_max, "f32")
    n_written = 0

    def append(seq: int, n: int) -> None:
        nonlocal n_written
        pool.reserve(seq, n)
        numbers = np.arange(n_written + 1, n_written + n + 1, dtype=np.float32)[:, None, None]
        n_written += n
        pool.write(seq, 0, numbers, -numbers)

    def run(request: str, seq: int, n: int) -> int | None:
        if request in ("append", "abandon"):
            append(seq, n)
            return pool.commit(seq, n) if request == "append" else pool.abandon(seq)
        if request == "open":
            return pool.open()
        if request == "rewind":
            return pool.rewind(seq, n)
        result: int | None = getattr(pool, request)(seq)
        return result

    answers = []
    for request, seq, n in program:
        answer = said(lambda request=request, seq=seq, n=n: run(request, seq, n))
        state = []
        for open_seq in sorted(pool.sequences):
            length = pool.length(open_seq)
            tiles = [np.concatenate([k[0, :, 0], v[0, :, 0]]) for k, v in pool.tiles(open_seq, 0)]
            read = np.array(tiles, np.int64).reshape(-1, 2, 128).transpose(1, 0, 2).reshape(2, -1)[:, :length]
            total = int((read[0] * np.arange(1, length + 1)).sum() - read[1].sum())
            state.append(f"{open_seq}: {length} {total}")
        answers.append((answer, f"{pool.n_bytes // pool.n_bytes_per_slab} slabs, {', '.join(state)}"))
    return answers


@PROGRAMS
@given(
    st.integers(1, 700),
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["open", "append", "append", "append", "fork", "abandon", "rewind", "length", "close"]),
            st.integers(0, 3),
            st.one_of(st.integers(0, 3), st.sampled_from([127, 128, 129]), st.integers(0, 300)),
        ),
        max_size=25,
    ),
)
def test_kv_cache_pool(n_ctx: int, n_seq_max: int, program: list[Step]) -> None:
    program = [("open", 0, 0), *program]
    assert native("kv_cache_pool", [n_ctx, n_seq_max], program) == kv_cache_pool(n_ctx, n_seq_max, program)


def test_a_shared_slab_is_copied_by_the_first_to_write() -> None:
    program = [("open", 0, 0), ("append", 0, 130), ("fork", 0, 0), ("append", 1, 1), ("append", 0, 1), ("close", 0, 0)]
    assert [state.split()[0] for _, state in kv_cache_pool(256, 2, program)] == ["0", "2", "2", "3", "3", "2"]
