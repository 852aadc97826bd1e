"""The planner and the streamer of the core against their twins, over a disk that fails as each program says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axiom.errors import MemoryBudgetError
from axiom.reference.memory import WeightPool
from axiom.reference.model.plan import MemoryPlan
from axiom.reference.stream import Completion, StreamedExtent, Streamer
from tests.machines import PROGRAMS, Answers, Step, native, needs_extension, said, slot_states

pytestmark = needs_extension


@PROGRAMS
@given(
    st.integers(1, 5000),
    st.booleans(),
    st.lists(st.integers(0, 50), min_size=3, max_size=12),
    st.lists(st.integers(0, 700), max_size=8),
)
def test_memory_plan(n_col: int, is_tied: bool, pages: list[int], budgets: list[int]) -> None:
    extents, budgets = [4096 * n for n in pages], [4096 * n for n in budgets]
    program = [("extent", n, 0) for n in extents] + [("fit", n, 0) for n in budgets]
    expected = []
    for budget in budgets:
        try:
            plan = MemoryPlan.fit(extents, 64 * (-(-n_col // 32) * 32), is_tied, budget)
        except MemoryBudgetError as error:
            expected.append(str(error))
            continue
        assert plan.n_bytes <= budget
        pinned = "".join("p" if is_pinned else "-" for is_pinned in plan.is_pinned)
        sizes = f"{plan.n_landing} of {plan.bytes_landing} {plan.n_bytes} {plan.bytes_streamed}"
        expected.append(f"{pinned} {sizes}")
    answers = native("memory_plan", [n_col, int(is_tied)], program)
    assert [answer for answer, _ in answers[len(extents) :]] == expected


BLOCK = 8


class ScriptedDisk:
    """A disk that does with each request what a program says (`conformance/machines/disk.rs`)."""

    align = BLOCK

    def __init__(self, n_request_max: int, blocks_request_max: int, is_in_order: bool) -> None:
        self.n_request_max, self.bytes_request_max = n_request_max, blocks_request_max * BLOCK
        self.is_in_order = is_in_order
        self.pending: list[tuple[int, int, int]] = []
        self.answers: list[Completion] = []
        self.script: list[tuple[int, int]] = []
        self.n_silent = self.now_us = self.stopped_us = 0

    def submit(self, tag: int, offset: int, n_bytes: int) -> bool:
        assert n_bytes <= self.bytes_request_max
        is_room = len(self.pending) < self.n_request_max
        if is_room:
            self.pending.append((tag, offset, n_bytes))
        return is_room

    def poll(self) -> Completion | None:
        return self.answers.pop(0) if self.answers else None

    def wait(self) -> None:
        is_silent = self.n_silent > 0 or not self.pending
        self.now_us += self.stopped_us + (1_000_000 if is_silent else 1000)
        self.stopped_us = 0
        if is_silent:
            self.n_silent = max(0, self.n_silent - 1)
            return
        self.answer(*(self.script.pop(0) if self.script else (0, 0)))

    def answer(self, which: int, kind: int) -> None:
        if kind == 6:
            self.n_silent = 40
        if kind == 7:
            self.stopped_us = 60_000_000
        if not self.pending or kind >= 6:
            return
        tag, _, n_bytes = self.pending[which % len(self.pending)]
        if kind == 5:
            self.answers.append(Completion(tag ^ 0x8000_0000, n_bytes))
            return
        del self.pending[which % len(self.pending)]
        results: list[int | str] = [n_bytes, n_bytes // 2, 0, "input/output error (code 5)", n_bytes + 1]
        self.answers.append(Completion(tag, results[kind]))


def on_disk(offset: int, n_bytes: int) -> int:
    """The fingerprint of what the disk has there."""
    at = np.arange(offset, offset + n_bytes, dtype=np.int64)
    return int((((at * 167 + (at >> 8) * 13) & 0xFF) * np.arange(1, n_bytes + 1)).sum())


def streamer(sizes: list[int], program: list[Step]) -> Answers:
    n_extent, n_landing, n_request_max, blocks_request_max, is_in_order, fetches = sizes
    disk = ScriptedDisk(n_request_max, blocks_request_max, bool(is_in_order))
    pool = WeightPool(1 + n_landing)
    order = [StreamedExtent(2 * i, 2 * i * 1024, (2 * i + 1) * BLOCK) for i in range(1, n_extent + 1)]
    try:
        scan = Streamer(order, range(1, 1 + n_landing), pool, disk, bool(fetches))
    except RuntimeError as error:
        return [(str(error), "")]

    def begin(extent: int) -> str:
        slot, (start_us, end_us, n_bytes), is_first = scan.begin(extent)
        what = on_disk(extent * 1024, (extent + 1) * BLOCK)
        first = str(is_first).lower()
        return f"slot {slot}, {what}, {start_us} ... {end_us} us, {n_bytes} bytes, first: {first}"

    def fetch(extent: int, n_block: int) -> int:
        # In pieces of more blocks than some disks read at a time.
        starts = range(0, n_block, 3)
        scan.fetch(extent, [(extent * 1024 + at * BLOCK, min(3, n_block - at) * BLOCK) for at in starts])
        return on_disk(extent * 1024, n_block * BLOCK)

    requests: dict[str, Callable[[int, int], Any]] = {
        "begin": lambda extent, _: begin(extent),
        "end": lambda slot, _: scan.end(slot),
        "pump": lambda *_: scan.pump(),
        "fetch": fetch,
        "distrust": lambda extent, _: scan.distrust(extent),
        "plan": lambda which, kind: disk.script.append((which, kind)),
        "answer": lambda which, kind: disk.answer(which, kind),
    }
    answers = []
    for request, first, second in program:
        answer = said(lambda request=request, first=first, second=second: requests[request](first, second))
        counts = " ".join(map(str, asdict(scan.counts).values()))
        asked = " ".join(f"{offset}+{n_bytes}" for _, offset, n_bytes in disk.pending)
        answers.append((answer, f"{slot_states(pool)}; {counts}; {asked}"))
    return answers


# What disks do: whole answers for the most part, short ones, none, errors. What no disk should do ends a program soon,
# so it is in some programs only.
KINDS = st.sampled_from([0] * 9 + [1, 1, 1, 2, 3, 3, 7])
BROKEN_KINDS = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], list[Step]]:
    n_extent = draw(st.integers(1, 5))
    n_landing = draw(st.integers(min(2, n_extent), 4) if draw(st.integers(0, 9)) else st.integers(1, 2))
    flags = [draw(st.integers(0, 1)), draw(st.integers(0, 1))]
    sizes = [n_extent, n_landing, draw(st.integers(1, 6)), draw(st.integers(1, 4)), *flags]
    kinds = KINDS if draw(st.integers(0, 4)) else BROKEN_KINDS
    program: list[Step] = []
    turn = 0
    for move in draw(st.lists(st.sampled_from(["turn"] * 6 + ["disk"] * 5 + ["jump", "any", "fetch"]), max_size=30)):
        if move == "disk":
            request = draw(st.sampled_from(["plan", "plan", "answer"]))
            program.append((request, draw(st.integers(0, 5)), draw(kinds)))
        elif move == "turn":
            # A layer of a pass after the other, as the engine does it; any landing slot may be the one.
            if sizes[-1] and turn % n_extent == 0:
                program.append(("fetch", 0, draw(st.integers(1, 4))))
            program.append(("begin", 2 * (turn % n_extent + 1), 0))
            program += [("end", slot, 0) for slot in draw(st.permutations(range(1, 1 + n_landing)))[:2]]
            turn += 1
        elif move == "jump":
            turn = draw(st.integers(0, n_extent - 1))
        elif move == "fetch":
            program.append(("fetch", draw(st.integers(0, 3)), draw(st.integers(0, 9))))
        else:
            request = draw(st.sampled_from(["begin", "pump", "distrust"]))
            program.append((request, draw(st.integers(0, 2 * n_extent + 2)), 0))
    return sizes, program


@PROGRAMS
@given(streams())
def test_streamer(drawn: tuple[list[int], list[Step]]) -> None:
    sizes, program = drawn
    assert native("streamer", sizes, program) == streamer(sizes, program)


def test_the_next_layer_loads_while_one_computes() -> None:
    answers = streamer(
        [3, 2, 8, 8, 1, 0], [("begin", 2, 0), ("answer", 0, 0), ("pump", 0, 0), ("end", 1, 0), ("begin", 4, 0)]
    )
    states = [state.split(";")[0] for _, state in answers]
    assert states[0] == "Unloaded, Computing 2, Streaming 4"
    assert states[2] == "Unloaded, Computing 2, Resident 4"
    assert states[3] == "Unloaded, Streaming 6, Resident 4"
    assert answers[4][1].split(";")[1].split()[-1] == "1", "only the first layer was waited for"


def test_what_is_needed_first_has_the_disk_nearly_to_itself() -> None:
    # The second layer has five requests, and the third seven; two of those may be under way beside the last of these.
    program = [("begin", 2, 0), ("end", 1, 0), *[("answer", 0, 0)] * 4, ("pump", 0, 0)]
    asked = [state.split("; ")[2] for _, state in streamer([3, 2, 8, 1, 0, 0], program)]
    assert asked[1] == "4096+8 4104+8 4112+8 4120+8 4128+8"
    assert asked[-1] == "4128+8 6144+8"
    in_order = [state.split("; ")[2] for _, state in streamer([3, 2, 8, 1, 1, 0], program)]
    assert in_order[1] == asked[1] + " 6144+8 6152+8 6160+8"


@pytest.mark.parametrize("is_in_order", [0, 1])
def test_rows_that_a_pass_begins_with_wait_for_little(is_in_order: int) -> None:
    # At the end of a pass the first layer of the next is on its way, and no more than two requests of the second.
    turns = [("fetch", 0, 1), ("begin", 2, 0), ("end", 1, 0), ("begin", 4, 0), ("end", 2, 0), ("begin", 6, 0)]
    program = [*turns, ("end", 1, 0), *[("answer", 0, 0)] * 3, ("pump", 0, 0), ("fetch", 0, 1), ("begin", 2, 0)]
    asked = [state.split("; ")[2] for _, state in streamer([3, 2, 9, 1, is_in_order, 1], program)]
    assert asked[6] == "2048+8 2056+8 2064+8"
    assert asked[10] == "4096+8 4104+8"
    assert asked[-1].startswith("4112+8 4120+8 4128+8")


def test_where_all_but_the_embedding_fits_nothing_lands() -> None:
    pages = [90, 4, 4, 4, 4, 2]
    plan = MemoryPlan.fit([4096 * n for n in pages], 64 * 32, False, 4096 * sum(pages) - 1)
    assert plan.is_pinned == [False, True, True, True, True, True]
    assert (plan.n_landing, plan.bytes_landing, plan.bytes_streamed) == (0, 0, 0)


def test_a_program_that_was_stopped_does_not_blame_the_disk() -> None:
    answers = streamer([1, 1, 2, 4, 1, 0], [("plan", 0, 7), ("answer", 0, 7), ("begin", 2, 0)])
    assert answers[-1][0].startswith("slot 1, ")
    silent = streamer([1, 1, 2, 4, 1, 0], [("answer", 0, 6), ("begin", 2, 0)])
    assert silent[-1][0].startswith("the disk has not answered any of 1 requests for 31 s; check the disk")


def test_a_disk_that_has_gone_silent_is_asked_for_nothing_more() -> None:
    answers = streamer([1, 1, 4, 4, 1, 1], [("answer", 0, 6), ("fetch", 0, 2), ("fetch", 0, 2), ("begin", 2, 0)])
    (silent, left), *later = answers[1:]
    assert silent.startswith("the disk has not answered any of 1 requests")
    assert later == [(silent, left)] * 2
    assert native("streamer", [1, 1, 4, 4, 1, 1], [("answer", 0, 6), ("fetch", 0, 2), ("fetch", 0, 2)]) == answers[:3]
