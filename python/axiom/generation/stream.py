"""A text as it comes: an iterator of pieces that can be stopped, with the completion at its end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType

from axiom.generation.completion import Completion
from axiom.generation.generation import Generation

__all__ = ["Stream"]


class Stream(Iterator[str]):
    """Yields pieces of text; joined, they are the completion's text. Nothing is computed before the first is asked for.

    Pieces are never empty and never end inside a character. To end early, call `cancel` or `close`, leave the `with`
    block, or drop the stream: the sequence is freed in each case.
    """

    def __init__(
        self,
        generation: Generation,
        pieces: Generator[tuple[Generation, str]],
        on_end: Callable[[Generation], None] | None = None,
    ):
        """Wrap the running loop of one generation; `on_end` is called once when it is over, however it ended."""
        self._generation = generation
        self._pieces = pieces
        self._on_end = on_end
        self._iterating = threading.Lock()
        self._closed = False

    def __next__(self) -> str:
        """Compute until there is a next piece of text."""
        try:
            with self._iterating:
                return self._next()
        finally:
            # By another thread meanwhile, which left the end to this one.
            if self._closed:
                self.close()

    def _next(self) -> str:
        try:
            while True:
                _, piece = next(self._pieces)
                if piece:
                    return piece
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        on_end, self._on_end = self._on_end, None
        try:
            self._pieces.close()
            if self._generation.finish_reason is None:
                self._generation.cancelled = True
                self._generation.end()
        finally:
            if on_end is not None:
                on_end(self._generation)

    def cancel(self) -> None:
        """Ask it to end, in the middle of a prompt too; iteration then ends by itself. Any thread may."""
        self._generation.request_cancel()

    def close(self) -> None:
        """End it now: `result` is then what there was. While another thread iterates, that one ends it, soon."""
        self._closed = True
        self.cancel()
        if self._iterating.acquire(blocking=False):
            try:
                with contextlib.suppress(StopIteration):
                    while True:
                        self._next()
            finally:
                self._iterating.release()

    @property
    def result(self) -> Completion:
        """The completion; of a stream that was interrupted, what there was. Raises `RuntimeError` before the end."""
        if self._generation.finish_reason is None:
            raise RuntimeError("the stream has not ended; iterate to its end, or cancel() it and iterate once more")
        return self._generation.completion()

    def __enter__(self) -> Stream:
        """Use it as a context manager: leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Free what a stream that nobody ended still holds."""
        if hasattr(self, "_on_end"):
            self._end()
