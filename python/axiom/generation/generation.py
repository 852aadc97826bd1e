"""One prompt on its way to a completion: which tokens are to be computed, which was chosen, what text is certain.

A generation with a drafter lets the engine compute a few guessed tokens after the one that is due
(`axiom.generation.speculation`). Tokens are chosen one by one all the same; at the first that was not guessed, the
rest is forgotten.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from axiom.body import Sampler, TextDecoder
from axiom.engine import LogitRow, Logits, StopFlag
from axiom.generation.completion import Completion, FinishReason, Timings, TokenLogprob, Usage
from axiom.generation.request import Request
from axiom.generation.shared_engine import HeldSequence
from axiom.generation.speculation import NgramDrafter
from axiom.generation.stopping import StopMatcher

if TYPE_CHECKING:
    from axiom.generation.receipt import ReceiptRecorder

__all__ = ["Generation"]


class Generation:
    """One prompt on its way to a completion. It knows tokens and logits; the sequence is given to it."""

    def __init__(
        self,
        request: Request,
        *,
        history: Sequence[int],
        pending: Sequence[int],
        n_ctx: int,
        sampler: Sampler,
        decoder: TextDecoder,
        recorder: ReceiptRecorder | None = None,
        logits: LogitRow | None = None,
        seq: HeldSequence | None = None,
        drafter: NgramDrafter | None = None,
    ):
        """Start after the tokens of `history`, of which the engine has yet to compute those in `pending`.

        `logits` are those after `history`, if nothing is pending. `seq` is a sequence that belongs to a session; None
        takes one from the engine for as long as the generation lasts. `drafter` makes guesses of what comes next.
        """
        self.request = request
        self.seq = seq
        self.owns_seq = seq is None
        self.history = list(history)
        self.pending = list(pending)
        self.n_pending = len(self.pending)
        self.finish_reason: FinishReason | None = None
        self.cancelled = False
        self.stop_flag: StopFlag | None = None
        """Of the pass that it is in."""
        self.logits = logits
        self._drafter = drafter
        # Guessed tokens that the engine has computed after the history, each with the logits after it.
        self._ahead: deque[tuple[int, LogitRow]] = deque()
        self._n_drafted = self._n_decode_pass = 0
        if drafter is not None:
            drafter.extend(self.history)
        self._n_prompt = len(self.history)
        self._n_ctx = n_ctx
        self._sampler = sampler
        self._decoder = decoder
        self._matcher = StopMatcher(request.stop, request.stop_tokens)
        self._recorder = recorder
        self._logprobs: list[TokenLogprob] = []
        self._pieces: list[str] = []
        self._started = self._prefilled = self._ended = time.perf_counter()
        # When its time is over.
        self._due: float | None = None

    @property
    def tokens(self) -> list[int]:
        """The tokens chosen so far."""
        return self.history[self._n_prompt :]

    @property
    def in_prompt(self) -> bool:
        """Whether no token has been chosen yet."""
        return len(self.history) == self._n_prompt

    def start_timeout(self) -> None:
        """Begin to count the time that it may take, when it is its turn to join the batch."""
        if self._due is None and self.request.timeout is not None:
            self._due = time.perf_counter() + self.request.timeout

    def start_clock(self) -> None:
        """Begin to count the time that it takes, when it joins the batch."""
        self.start_timeout()
        self._started = self._prefilled = self._ended = time.perf_counter()

    def draft(self) -> list[int]:
        """Guess what follows the pending token, no further than the generation can go."""
        if self._drafter is None or self.in_prompt or len(self.pending) != 1:
            return []
        room = self._n_ctx - len(self.history)
        if self.request.max_tokens is not None:
            room = min(room, self.request.max_tokens - len(self.tokens) - 1)
        return self._drafter.draft(max(0, room))

    def take_logits(self, rows: Logits, draft: Sequence[int] = ()) -> None:
        """Take the logits after the last pending token and after each token of the `draft`."""
        if not self.in_prompt:
            self._n_decode_pass += 1
        self.logits = rows[0]
        self._ahead = deque(zip(draft, rows[1:], strict=True))
        self._n_drafted = len(draft)

    @property
    def is_ahead(self) -> bool:
        """Whether the engine has computed positions that no chosen token stands at."""
        return bool(self._ahead)

    def forget_ahead(self) -> int:
        """Give up the guesses that are left, and return how many positions the engine is to keep."""
        self._ahead.clear()
        # The last token that was chosen is yet to be computed, unless its logits are there.
        return len(self.history) - (self.logits is None)

    def choose(self) -> str:
        """Choose the next token from the logits after the history, and return the text that is now certain."""
        logits, self.logits = self.logits, None
        assert logits is not None
        position = len(self.history)
        if self.in_prompt:
            self._prefilled = time.perf_counter()
        token = self._sampler.sample(logits, self.history, position)
        if self.request.n_top_logprobs is not None:
            logprob, top = self._sampler.logprobs(logits, token, self.request.n_top_logprobs)
            self._logprobs.append(TokenLogprob(token, logprob, tuple(top)))
        if self._recorder is not None:
            self._recorder.record(position, token, logits)
        self.history.append(token)
        if self._drafter is not None:
            self._drafter.extend([token])
        piece = self._text_of(token)
        n_chosen = position + 1 - self._n_prompt
        if self.finish_reason is None and n_chosen == self.request.max_tokens:
            piece += self._finish("length")
        elif self.finish_reason is None and len(self.history) >= self._n_ctx:
            piece += self._finish("context")
        self.pending = [token] if self.finish_reason is None else []
        self._follow_draft(token)
        self._ended = time.perf_counter()
        self._pieces.append(piece)
        return piece

    def _follow_draft(self, token: int) -> None:
        """Go on with the logits after `token` if it was guessed."""
        if self._drafter is None or self._n_drafted == 0:
            return
        n_right = self._n_drafted - len(self._ahead)
        right = self.finish_reason is None and bool(self._ahead) and self._ahead[0][0] == token
        if right:
            _, self.logits = self._ahead.popleft()
            self.pending = []
            n_right += 1
        if not right or not self._ahead:
            self._drafter.learn(self._n_drafted, n_right)
            self._n_drafted = 0

    def request_cancel(self) -> None:
        """Ask it to end, in the middle of a pass too. May be called from any thread."""
        self.cancelled = True
        if self.stop_flag is not None:
            self.stop_flag.set()

    @property
    def seconds_left(self) -> float | None:
        """Time until it has to end, or None."""
        return None if self._due is None else max(0.0, self._due - time.perf_counter())

    @property
    def is_over(self) -> bool:
        """Whether it is to end before its next token."""
        return self.cancelled or self.seconds_left == 0.0

    def end(self) -> str:
        """End it now, and return the text that was held back in case it was part of a stop string."""
        piece = self._finish("cancelled" if self.cancelled else "timeout")
        self._ended = time.perf_counter()
        self._pieces.append(piece)
        return piece

    def _text_of(self, token: int) -> str:
        if token in self.request.eog_tokens:
            return self._finish("eos")
        if self._matcher.push_token(token):
            return self._finish("stop")
        piece = self._matcher.push(self._decoder.push(token))
        if self._matcher.stopped:
            self.finish_reason = "stop"
        return piece

    def _finish(self, reason: FinishReason) -> str:
        """End it, and return the text that nothing can now take back: incomplete characters, parts of stop strings."""
        self.finish_reason = reason
        rest = self._decoder.finish()
        if self._matcher.stopped:
            return self._matcher.flush() + rest
        piece = self._matcher.push(rest)
        if self._matcher.stopped:
            self.finish_reason = "stop"
            return piece
        return piece + self._matcher.flush()

    def completion(self) -> Completion:
        """Return the result."""
        assert self.finish_reason is not None
        assert self.request.sampling.seed is not None
        tokens = tuple(self.tokens)
        return Completion(
            text="".join(self._pieces),
            tokens=tokens,
            finish_reason=self.finish_reason,
            usage=Usage(self._n_prompt, len(tokens)),
            timings=Timings(
                prefill_s=self._prefilled - self._started,
                decode_s=self._ended - self._prefilled,
                prefill_tokens=self.n_pending,
                decode_tokens=max(0, len(tokens) - 1),
                decode_passes=self._n_decode_pass,
            ),
            seed=self.request.sampling.seed,
            logprobs=tuple(self._logprobs) if self.request.n_top_logprobs is not None else None,
            receipt=self._recorder.receipt() if self._recorder is not None else None,
        )
