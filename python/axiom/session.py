"""A conversation with memory: a sequence that stays in the engine between calls."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from axiom.arguments import integer
from axiom.engine import Engine, LogitRow
from axiom.errors import ContextLengthError
from axiom.generation.completion import Completion
from axiom.generation.generation import Generation
from axiom.generation.loop import CHUNK_TOKENS
from axiom.generation.request import GenerateOptions, checked_tokens
from axiom.generation.shared_engine import HeldSequence
from axiom.generation.stream import Stream
from axiom.loaded_model import LoadedModel
from axiom.session_file import read_session_file, write_session_file

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Session"]


class Session:
    """Tokens and the engine's state after them. Made by `Runtime.session()`; holds one of its sequences until closed.

    A session is used by one thread at a time; different sessions may be used by different threads.
    """

    def __init__(self, model: LoadedModel, seq: HeldSequence | None = None, tokens: Sequence[int] = ()):
        """Hold sequence `seq`, which has computed `tokens`; without one, open an empty sequence."""
        self._model = model
        if seq is None:
            seq = model.engine.open_sequence(held=True)
        self._seq: HeldSequence | None = seq
        # How far the engine has computed them is asked of the engine: Ctrl-C may raise just after it got there. The
        # last chosen token of a generation is not among those yet.
        self._tokens = list(tokens)
        # Logits after the last token, if that was the last thing computed.
        self._logits: LogitRow | None = None
        # Who uses the session, for as long as there is one.
        self._user: weakref.ref[_Use] | None = None
        self._guard = threading.Lock()
        self._stream: weakref.ref[Stream] | None = None

    def __repr__(self) -> str:
        """Show the model and how many tokens there are."""
        state = "closed" if self._seq is None else f"{len(self._tokens)} of {self._model.n_ctx} tokens"
        return f"Session({self._model.gguf.path.name!r}, {state})"

    def __reduce__(self) -> Any:
        """Refuse to be pickled or copied."""
        raise TypeError("a session cannot be pickled or copied; fork() it, or save() it to a file")

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens so far, prompts and completions."""
        return tuple(self._tokens)

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self._tokens)

    @property
    def text(self) -> str:
        """The text of the tokens so far."""
        return self._model.tokenizer.decode(self._tokens)

    @property
    def telemetry(self) -> dict[str, Any]:
        """Counts of this session, and the engine's times and counts."""
        return {
            "n_tokens": len(self._tokens),
            "n_computed": 0 if self._seq is None else min(self._n_pos(), len(self._tokens)),
            "n_ctx": self._model.n_ctx,
            "engine": self._model.telemetry,
        }

    def append(self, prompt: str | Sequence[int], *, parse_special: bool = False) -> int:
        """Add text or tokens at the end and compute them; return the number of tokens now.

        A text at the start of a session gets the model's begin-of-text token, as in `Runtime.generate`; a later one
        goes on with the text before it. Raises `ContextLengthError`, and leaves the session as it was, if they do not
        fit.
        """
        with self._in_use():
            new = self._model.prompt_tokens(prompt, after=self._tokens, parse_special=parse_special)
            self._check_room(len(self._tokens) + len(new))
            n_before = len(self._tokens)
            try:
                self._tokens += new
                self._compute()
            except BaseException:
                self._rewind(n_before)
                raise
            return len(self._tokens)

    def advance_to(self, tokens: Sequence[int]) -> int:
        """Make the session hold exactly `tokens`, and compute no more than what differs; return how many were kept.

        This is how a chat goes on: the whole conversation is rendered anew, and what is the same stays.
        """
        with self._in_use():
            wanted = checked_tokens(tokens, self._model.config.n_vocab, "tokens")
            self._check_room(len(wanted))
            pairs = zip(self._tokens, wanted, strict=False)
            n_same = next(
                (i for i, (have, want) in enumerate(pairs) if have != want), min(len(self._tokens), len(wanted))
            )
            self._rewind(n_same)
            self._tokens += wanted[n_same:]
            return n_same

    def rewind(self, n_tokens: int) -> None:
        """Keep the first `n_tokens` tokens."""
        with self._in_use():
            n_tokens = integer("n_tokens", n_tokens)
            if not 0 <= n_tokens <= len(self._tokens):
                raise ValueError(f"n_tokens: expected a number from 0 to {len(self._tokens)}, got {n_tokens}")
            self._rewind(n_tokens)

    def fork(self) -> Session:
        """Return a second session with the same tokens; each goes its own way from here."""
        with self._in_use():
            number = self._sequence().number
            fork = self._model.engine.open_sequence(lambda engine: engine.seq_fork(number), held=True)
            twin = Session(self._model, fork, self._tokens)
            twin._logits = self._logits
            return twin

    def generate(self, prompt: str | Sequence[int] = "", **options: Unpack[GenerateOptions]) -> Completion:
        """Append `prompt`, go on from there, and keep the chosen tokens. Options as in `Runtime.generate`."""
        with self.stream(prompt, **options) as stream:
            for _ in stream:
                pass
        return stream.result

    def stream(self, prompt: str | Sequence[int] = "", **options: Unpack[GenerateOptions]) -> Stream:
        """Append `prompt` and go on from there, as a `Stream`. The session is in use until that ends."""
        use = _Use(self)
        try:
            seq, n_computed = self._sequence(), self._n_computed()
            history = list(self._tokens)
            # Where nothing is added no vocabulary is asked, which the model may lack.
            if not isinstance(prompt, str) or prompt or not history:
                history += self._model.prompt_tokens(prompt, after=history)
            if not history:
                raise ValueError("the session is empty and so is the prompt; append a text first")
            self._check_room(len(history) + 1)
            request = self._model.checked_request(options)
            if n_computed == len(history) and self._logits is None:
                # Logits are not kept in a file or over a rewind: the last token is computed again for them.
                n_computed -= 1
                self._rewind_engine(n_computed)
            generation = self._model.new_generation(
                request, history=history, pending=history[n_computed:], logits=self._logits, seq=seq
            )
            if generation.pending:
                generation.logits = None
            pieces = self._model.run([generation], options.get("on_progress"))
            stream = Stream(generation, pieces, lambda generation: self._end_stream(generation, use))
            self._stream = weakref.ref(stream)
            return stream
        except BaseException:
            use.end()
            raise

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the session to a file, from which `Runtime.load_session` makes it again on any machine."""
        with self._in_use():
            self._compute()
            number = self._sequence().number
            engine, gguf = self._model.engine, self._model.gguf
            n_state, parts = engine.call(lambda engine: engine.seq_save_parts(number))
            # One at a time, and the engine is free for others while it is written.
            state = iter(lambda: engine.call(lambda _: next(parts, b"")), b"")
            write_session_file(path, gguf.header_digest(), self._tokens, n_state, state, *gguf.paths)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Put the session of a file in place of this one, in its sequence.

        Raises as `from_file`; the session then has the tokens that it had.
        """
        with self._in_use():
            tokens, load = _saved(self._model, path)
            self._logits = None
            seq = self._model.engine.open_instead(self._sequence(), load)
            self._seq, self._tokens = seq, tokens

    @classmethod
    def from_file(cls, model: LoadedModel, path: str | os.PathLike[str]) -> Session:
        """Open a new session from a file.

        Raises `ValueError` if it is damaged, or of another model or type of cache, and `ContextLengthError` if it is
        longer than the context.
        """
        tokens, load = _saved(model, path)
        return cls(model, model.engine.open_sequence(load, held=True), tokens)

    def close(self) -> None:
        """End a stream that is under way, and free the sequence. Closing twice does nothing."""
        stream = self._stream() if self._stream is not None else None
        if stream is not None:
            stream.close()
        with _Use(self):
            if self._seq is not None:
                self._seq.close()
                self._seq = None

    def __enter__(self) -> Session:
        """Use it as a context manager: leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _sequence(self) -> HeldSequence:
        if self._seq is None:
            raise RuntimeError("the session is closed; open another with Runtime.session()")
        if self._seq.is_closed:
            # Given up for one that could not be loaded. The tokens are computed again when they are needed.
            self._seq = self._model.engine.open_sequence(held=True)
        return self._seq

    def _in_use(self) -> _Use:
        """Begin a use of the open session, whose engine has nothing then beyond the tokens."""
        use = _Use(self)
        try:
            self._n_computed()
        except BaseException:
            use.end()
            raise
        return use

    def _check_room(self, n_tokens: int) -> None:
        n_ctx = self._model.n_ctx
        if n_tokens > n_ctx:
            raise ContextLengthError(
                f"the session would have {n_tokens} tokens, but the context has {n_ctx} positions; "
                f"rewind() it, or {self._model.longer_context}"
            )

    def _n_pos(self) -> int:
        """Positions that the engine has."""
        number = self._sequence().number
        return self._model.engine.call(lambda engine: engine.seq_len(number))

    def _n_computed(self) -> int:
        """How many of the tokens the engine has computed. What it has beyond them is given up."""
        n_pos = self._n_pos()
        if n_pos > len(self._tokens):
            self._rewind_engine(len(self._tokens))
        return min(n_pos, len(self._tokens))

    def _compute(self) -> None:
        """Bring the engine to the last token, a chunk at a time."""
        n_computed = self._n_computed()
        while n_computed < len(self._tokens):
            chunk = self._tokens[n_computed : n_computed + CHUNK_TOKENS]
            n_computed += len(chunk)
            last = n_computed == len(self._tokens)
            self._logits = None
            rows = self._model.engine.forward([self._sequence().number], [chunk], "last" if last else "none")
            self._logits = rows[0] if last else None

    def _rewind(self, n_tokens: int) -> None:
        if n_tokens < len(self._tokens):
            self._logits = None
            del self._tokens[n_tokens:]
        self._n_computed()

    def _rewind_engine(self, n_pos: int) -> None:
        number = self._sequence().number
        self._logits = None
        self._model.engine.call(lambda engine: engine.seq_rewind(number, n_pos))

    def _end_stream(self, generation: Generation, use: _Use) -> None:
        """Take over what a generation chose, however it ended: the engine knows how far it got."""
        with use:
            if self._seq is not None and not self._model.engine.closed:
                self._logits = None
                self._tokens = list(generation.history)
                self._n_computed()


def _saved(model: LoadedModel, path: str | os.PathLike[str]) -> tuple[list[int], Callable[[Engine], int]]:
    """Read and check a session's file. Return its tokens, and what opens a sequence that has computed them."""
    tokens, state = read_session_file(path, model.gguf.header_digest())
    name = os.fspath(path)
    checked_tokens(tokens, model.config.n_vocab, f"{name}: tokens")
    if len(tokens) > model.n_ctx:
        raise ContextLengthError(
            f"{name}: expected a session of {model.n_ctx} tokens at most, the positions of the context, got one of "
            f"{len(tokens)}; {model.longer_context}"
        )

    def load(engine: Engine) -> int:
        try:
            number = engine.seq_load(state)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        n_pos = engine.seq_len(number)
        if n_pos != len(tokens):
            engine.seq_free(number)
            raise ValueError(f"{name}: expected the state of {len(tokens)} tokens, got one of {n_pos}")
        return number

    return tokens, load


class _Use:
    """The use of a session by one call or stream, until it is ended or nobody has this object any more."""

    def __init__(self, session: Session):
        """Begin it. Raises `RuntimeError` if the session is in use."""
        self._session = session
        with session._guard:
            if session._user is not None and session._user() is not None:
                raise RuntimeError(
                    "the session is in use by a stream or another thread; end that first, or fork() before it"
                )
            session._user = weakref.ref(self)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let others use it. Ending twice does nothing."""
        with self._session._guard:
            if self._session._user is not None and self._session._user() is self:
                self._session._user = None
