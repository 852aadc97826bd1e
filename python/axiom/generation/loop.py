"""The loop that carries many generations through one engine, together.

It is a continuous batch. Each pass takes one token from every generation that is decoding and a chunk of prompt from
those that are not yet; generations join when a sequence is free and leave when they end. What a generation computes
does not depend on its company, so a batch gives the same tokens as one prompt after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence

from axiom.engine import StopFlag
from axiom.errors import PassStopped
from axiom.generation.generation import Generation
from axiom.generation.shared_engine import SharedEngine

__all__ = ["CHUNK_TOKENS", "OnProgress", "run_generations"]

# Prompt tokens in one pass. Long enough for the batched kernels, short enough that other generations and Ctrl-C do
# not wait long.
CHUNK_TOKENS = 512

OnProgress = Callable[[int, int], None]
"""`on_progress(n_done, n_total)`, of positions of prompts."""


def run_generations(
    engine: SharedEngine,
    generations: Sequence[Generation],
    stop_flag: Callable[[float | None], StopFlag],
    on_progress: OnProgress | None = None,
) -> Generator[tuple[Generation, str]]:
    """Carry `generations` to their ends, and yield each piece of text with the generation that it belongs to.

    `stop_flag(timeout)` makes the flags of the engine's body. However it ends, by an error, by Ctrl-C or because nobody
    asks for the next piece, the sequences are freed.
    """
    waiting = deque(generations)
    active: list[Generation] = []
    n_prompt = sum(len(generation.pending) for generation in generations)
    n_prefilled = 0
    try:
        while waiting or active:
            for generation in [g for g in waiting if g.cancelled]:
                waiting.remove(generation)
                yield generation, generation.end()
            if (late := _admit(engine, waiting, active)) is not None:
                waiting.remove(late)
                yield late, late.end()
                continue
            while ready := [g for g in active if g.finish_reason is None and (g.is_over or g.logits is not None)]:
                for generation in ready:
                    piece = generation.end() if generation.is_over else generation.choose()
                    if generation.is_ahead and generation.logits is None:
                        _rewind(engine, generation)
                    yield generation, piece
            _retire(engine, active)
            batch = _plan(active)
            if not batch:
                if active:
                    raise RuntimeError(
                        "a generation has nothing to compute and does not end; this is a defect of axiom"
                    )
                continue
            try:
                _pass(engine, batch, _stop_flag(stop_flag, [generation for generation, _, _ in batch]))
            except PassStopped:
                # One of them is over, and ends above; for the others nothing has happened.
                continue
            n_new = [n for generation, n, _ in batch if generation.in_prompt]
            n_prefilled += sum(n_new)
            if on_progress is not None and n_new:
                on_progress(n_prefilled, n_prompt)
    finally:
        for generation in generations:
            _release(engine, generation)


def _sequence(generation: Generation) -> int:
    assert generation.seq is not None
    return generation.seq.number


def _admit(engine: SharedEngine, waiting: deque[Generation], active: list[Generation]) -> Generation | None:
    """Let waiting generations join while sequences are free, and wait for one only if there is nothing else to do.

    Returns the generation that was over before there was one for it.
    """
    while waiting:
        generation = waiting[0]
        if generation.owns_seq:
            if not active:
                generation.start_timeout()
            generation.seq = engine.open_sequence_unless(lambda: bool(active) or waiting[0].is_over)
            if generation.seq is None:
                return None if active else generation
        active.append(waiting.popleft())
        generation.start_clock()
    return None


_Batch = list[tuple[Generation, int, list[int]]]
"""What goes into a pass: of each generation how many pending tokens, and which guesses after them."""


def _plan(active: Sequence[Generation]) -> _Batch:
    """Decide what goes into the next pass. Generations that decode come first, then prompts in order."""
    batch = [(generation, 1, generation.draft()) for generation in active if len(generation.pending) == 1]
    room = max(1, CHUNK_TOKENS - sum(1 + len(draft) for _, _, draft in batch))
    for generation in active:
        if len(generation.pending) > 1 and room > 0:
            n = min(room, len(generation.pending))
            batch.append((generation, n, []))
            room -= n
    return batch


def _pass(engine: SharedEngine, batch: _Batch, stop: StopFlag) -> None:
    """Compute a batch, and give each generation the logits that are its own."""
    # Logits come after the last pending token of those that get there, and after every guess.
    n_logit = [(n == len(generation.pending)) + len(draft) for generation, n, draft in batch]
    rows = engine.forward(
        [_sequence(generation) for generation, _, _ in batch],
        [generation.pending[:n] + draft for generation, n, draft in batch],
        n_logit,
        stop,
    )
    first = 0
    for (generation, n, draft), n_row in zip(batch, n_logit, strict=True):
        generation.pending = generation.pending[n:]
        if n_row:
            generation.take_logits(rows[first : first + n_row], draft)
            first += n_row


def _stop_flag(make: Callable[[float | None], StopFlag], batch: Sequence[Generation]) -> StopFlag:
    """Make the flag of a pass: set when the first of its generations is over."""
    times = [seconds for generation in batch if (seconds := generation.seconds_left) is not None]
    flag = make(min(times, default=None))
    for generation in batch:
        generation.stop_flag = flag
    # What was cancelled before it had the flag has not set it.
    if any(generation.cancelled for generation in batch):
        flag.set()
    return flag


def _retire(engine: SharedEngine, active: list[Generation]) -> None:
    for generation in [g for g in active if g.finish_reason is not None]:
        active.remove(generation)
        _release(engine, generation)


def _rewind(engine: SharedEngine, generation: Generation) -> None:
    """Take back the guesses that the engine has computed."""
    seq, n_pos = _sequence(generation), generation.forget_ahead()
    engine.call(lambda engine: engine.seq_rewind(seq, n_pos))


def _release(engine: SharedEngine, generation: Generation) -> None:
    if generation.is_ahead and not generation.owns_seq and not engine.closed:
        _rewind(engine, generation)
    if generation.owns_seq and generation.seq is not None:
        generation.seq.close()
        generation.seq = None
