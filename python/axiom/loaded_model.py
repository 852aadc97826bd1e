"""A model loaded into one body, and what every way of asking it needs: tokens, logits, generations."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from axiom.arguments import BYTES, flag, function, integer
from axiom.body import CONTRACT, Backend, TextDecoder, load_body
from axiom.engine import LogitRow
from axiom.engine_options import EngineOptions
from axiom.errors import ContextLengthError, ModelFormatError, UnsupportedModelError
from axiom.generation.generation import Generation
from axiom.generation.loop import CHUNK_TOKENS, run_generations
from axiom.generation.request import GenerateOptions, Request, checked_request, checked_tokens, is_list
from axiom.generation.sampling import Sampling
from axiom.generation.shared_engine import HeldSequence, SharedEngine
from axiom.generation.speculation import NgramDrafter
from axiom.hardware import memory_budget, parse_memory
from axiom.model_file.model_config import KVFormat, ModelConfig
from axiom.model_file.model_file import ModelFile, open_model
from axiom.opening import open_engine
from axiom.tokenizer import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["LoadedModel", "Prompt"]

Prompt = str | Sequence[int]

# Logit rows that are held at once where all positions are asked for, as memory allows: with fewer, weights are read
# more often.
_ROWS_BYTES_LEAST, _ROWS_BYTES_MOST = 8 << 20, 64 << 20


class LoadedModel:
    """A model in memory, its tokenizer, and the engine that computes it. `axiom.Runtime` is what users have of it."""

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile | None = None,
        *,
        n_ctx: int | None = None,
        threads: int | None = None,
        backend: Backend = "native",
        kernels: str | None = None,
        kv: KVFormat = "f16",
        n_seq_max: int | None = None,
        memory: str | int | None = None,
        speculate: bool | None = None,
        paranoid: bool = False,
        on_load: Callable[[int, int], None] | None = None,
    ):
        """Load a model.

        `model` is the path of a GGUF file (of its first part, if split) or of an image that `axiom pack` made; None
        loads the small model that comes with the package. `n_ctx` is the number of positions of a sequence; None takes
        the model's own, or as many as fit in memory. `threads` defaults to what affinity and cgroup quota allow.
        `backend="reference"` computes the same bits in numpy, slowly; `backend="bare"` in a kernel of its own, in a
        virtual machine that lives as long as this object: `threads` are its cores, and `memory` is its memory.
        `kernels` forces a kernel table. `kv` is the format of the cache. `n_seq_max` bounds the sequences that run at
        once; None decides by memory. `memory` is a ceiling on the resident set of the process, such as "2GiB"; an image
        that is larger is streamed from its disk. `speculate` guesses several tokens ahead, from what stood in the text
        before, and computes them in one pass: the same text in fewer passes (`axiom.generation.speculation`); None does
        so where weights are streamed. `paranoid` checks a streamed layer's digest each time that it is read, not the
        first time alone. `on_load(n_done, n_bytes)` is called as weights load.

        Raises `ModelFormatError`, `UnsupportedModelError`, `ContextLengthError` or `MemoryBudgetError` where the model
        cannot be run as asked, `OSError` where it cannot be read, and `axiom.bare.kernel.BareError` where a bare
        machine cannot be started.
        """
        flag("paranoid", paranoid)
        if speculate is not None:
            flag("speculate", speculate)
        n_ctx, threads, n_seq_max = (
            None if value is None else integer(name, value)
            for name, value in (("n_ctx", n_ctx), ("threads", threads), ("n_seq_max", n_seq_max))
        )
        if kernels is not None and not isinstance(kernels, str):
            raise TypeError(f"kernels: expected the name of a kernel table or None, got {kernels!r}")
        function("on_load", on_load)
        self.gguf = model if isinstance(model, ModelFile) else open_model(model)
        """The header of the model's file."""
        self.config = ModelConfig.from_gguf(self.gguf)
        """The shape of the model."""
        self.body = load_body(backend, kernels)
        self.backend: Backend = backend
        self._tokenizer = _tokenizer(self.gguf, backend)
        self.default_sampling = self._recommended_sampling()
        """What the model recommends in its header, or `Sampling()`: used for what a call does not set."""
        options = EngineOptions(
            n_ctx=n_ctx,
            n_seq_max=n_seq_max,
            kv=kv,
            memory=None if memory is None else parse_memory(memory),
            threads=threads,
            kernels=kernels,
            paranoid=paranoid,
            progress=on_load,
        )
        engine, self.capacity = open_engine(self.gguf, self.config, options, backend)
        self.engine = SharedEngine(engine)
        # The memory of a bare machine is not that of this process.
        self._ceiling = None if backend == "bare" else options.memory
        self.n_ctx = self.engine.n_ctx
        """Positions of one sequence."""
        self.contract = f"{CONTRACT} kv={kv}"
        """Name of the arithmetic, as receipts have it."""
        # Where weights are streamed a pass costs the same for many tokens as for one.
        self._speculates = self.is_streamed if speculate is None else speculate
        self._digest: str | None = None

    def __repr__(self) -> str:
        """Show the model and how it runs."""
        state = "closed" if self.engine.closed else f"n_ctx={self.n_ctx}"
        return f"Runtime({self.gguf.path.name!r}, backend={self.backend!r}, {state})"

    def _recommended_sampling(self) -> Sampling:
        """What the header recommends, checked now: it is used by every call that does not set it."""
        try:
            sampling = Sampling.from_metadata(self.gguf.metadata)
            if sampling != Sampling():
                self.body.sampler(self.config.n_vocab, **sampling.replace(seed=0).as_dict())
        except ValueError as error:
            raise ModelFormatError(
                f"{self.gguf.path.name}: general.sampling: {error}; the metadata are damaged: convert the model again"
            ) from None
        return sampling

    # What it is

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer. Raises `UnsupportedModelError` if its file has no vocabulary."""
        if self._tokenizer is None:
            raise UnsupportedModelError(
                f"{self.gguf.path.name}: expected a vocabulary, got none; give prompts as lists of tokens"
            )
        return self._tokenizer

    @property
    def is_streamed(self) -> bool:
        """Whether some of the weights are read from the disk for every pass, for want of memory."""
        return self.engine.is_streamed

    @property
    def telemetry(self) -> dict[str, Any]:
        """Times and counts of the engine so far, with what it chose at start."""
        return {"info": self.engine.info(), **self.engine.telemetry()}

    def model_sha256(self, progress: Callable[[int, int], None] | None = None) -> str:
        """Return the SHA-256 of the model's file. The first call reads all of it."""
        if self._digest is None:
            self._digest = self.gguf.digest(progress)
        return self._digest

    def __reduce__(self) -> Any:
        """Refuse to be pickled or copied, which would need the weights twice."""
        raise TypeError("a runtime cannot be pickled or copied; open the model again, in each process that needs it")

    def close(self) -> None:
        """Free the model. Every later call that computes raises `RuntimeError`; closing twice does nothing."""
        self.engine.close()

    # For sessions, receipts and the command line

    def prompt_tokens(
        self, prompt: Prompt, *, after: Sequence[int] = (), parse_special: bool = False, name: str = "prompt"
    ) -> list[int]:
        """Return the tokens of a prompt that comes after tokens `after`; a list of tokens is checked and kept as it is.

        What comes after others has no begin-of-text token, and goes on with their text, unless they end with a special
        token. Errors call the prompt `name`.
        """
        if isinstance(prompt, str):
            at_start = not after or self.tokenizer.token_kind(after[-1]) in ("control", "user_defined")
            return self.tokenizer.encode(prompt, not after, parse_special, at_start)
        if isinstance(prompt, BYTES) or not is_list(prompt):
            raise TypeError(f"{name}: expected a string or a list of tokens, got {type(prompt).__name__}")
        return checked_tokens(prompt, self.config.n_vocab, name)

    def checked_request(self, options: GenerateOptions) -> Request:
        """Check the options of a generation and fill in the defaults."""
        return checked_request(
            options,
            defaults=self.default_sampling,
            eog_tokens=() if self._tokenizer is None else self._tokenizer.eog_ids,
            n_vocab=self.config.n_vocab,
        )

    def new_generation(
        self,
        request: Request,
        *,
        history: Sequence[int],
        pending: Sequence[int],
        logits: LogitRow | None = None,
        seq: HeldSequence | None = None,
    ) -> Generation:
        """Make a generation that goes on after `history`, of which `pending` is yet to be computed."""
        request = request.with_seed()
        recorder = None
        if request.receipt:
            from axiom.generation.receipt import Receipt, ReceiptRecorder

            start = Receipt(
                contract=self.contract,
                model_sha256=self.model_sha256(),
                model_name=self.gguf.path.name,
                prompt=tuple(history),
                sampling=request.sampling,
                output=(),
                links=(),
            )
            recorder = ReceiptRecorder(start, self.body, self.config.n_vocab)
        return Generation(
            request,
            history=history,
            pending=pending,
            n_ctx=self.n_ctx,
            sampler=self.body.sampler(self.config.n_vocab, **request.sampling.as_dict()),
            decoder=self._decoder_after(history),
            recorder=recorder,
            logits=logits,
            seq=seq,
            drafter=NgramDrafter() if self._speculates else None,
        )

    def _decoder_after(self, history: Sequence[int]) -> TextDecoder:
        """Return a decoder of what comes after `history`: where that has no text, the text begins there."""
        if self._tokenizer is None:
            return _NoText()
        silent = ("control", "unknown", "unused")
        at_start = all(self._tokenizer.token_kind(token) in silent for token in history)
        return self._tokenizer.decoder(at_start)

    def run(
        self, generations: Sequence[Generation], on_progress: Callable[[int, int], None] | None = None
    ) -> Generator[tuple[Generation, str]]:
        """Carry generations to their ends together; yield each piece of text as it comes."""
        return run_generations(self.engine, generations, self.body.stop_flag, on_progress)

    def iter_logits(
        self,
        tokens: Sequence[int],
        *,
        first_row: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the rows of `logits` from `first_row` on, one at a time, holding no more than a chunk of them."""
        checked = checked_tokens(tokens, self.config.n_vocab, "tokens")
        self.check_room(len(checked), "tokens")
        left = self._bytes_left(len(checked))
        return self._logit_rows(checked, _ROWS_BYTES_MOST if left is None else left, first_row, on_progress)

    def _logit_rows(
        self,
        tokens: Sequence[int],
        bytes_left: int,
        first_row: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the rows of `iter_logits`, where so much memory is left for them."""
        import numpy as np

        # Whoever has the last row of a chunk may hold all of it while the next one is computed.
        room = min(_ROWS_BYTES_MOST, _ROWS_BYTES_LEAST + bytes_left // 4)
        rows_at_once = max(1, min(CHUNK_TOKENS, room // (4 * self.config.n_vocab)))
        seq = self.engine.open_sequence()
        try:
            done = 0
            while done < len(tokens):
                before = done < first_row
                n = min(CHUNK_TOKENS, first_row - done) if before else min(rows_at_once, len(tokens) - done)
                rows = self.engine.forward([seq.number], [tokens[done : done + n]], "none" if before else "all")
                done += n
                if on_progress is not None:
                    on_progress(done, len(tokens))
                yield from map(np.asarray, rows)
                del rows
        finally:
            seq.close()

    def _bytes_left(self, n_tokens: int) -> int | None:
        """Return the memory that is left where so many tokens are computed, or None if the system does not say."""
        import numpy as np  # noqa: F401 - what it takes itself is not left

        usable = memory_budget(self._ceiling).usable_bytes
        if usable is None:
            return None
        besides = _ROWS_BYTES_LEAST
        if self.backend != "bare":
            # Cache and activations are there from the start, but taken when they are first written.
            besides += n_tokens * self.capacity.kv_bytes_per_sequence // self.capacity.n_ctx
            besides += self.engine.info().get("bytes_activations", 0)
        return max(0, usable - besides)

    def check_room(self, n_tokens: int, name: str) -> None:
        """Raise `ContextLengthError` if a sequence has no room for that many tokens of the argument `name`."""
        if n_tokens > self.n_ctx:
            raise ContextLengthError(
                f"{name}: {n_tokens} tokens are needed, with what follows, but the context has {self.n_ctx} positions; "
                f"shorten it, or {self.longer_context}"
            )

    @property
    def longer_context(self) -> str:
        """What helps where the context is too short, in words."""
        most = self.config.n_ctx_max
        if self.n_ctx < most:
            return f"open the runtime with a larger n_ctx, up to the model's own {most}"
        return "use a model with a longer context: this is all that this one has"


class _NoText:
    """The decoder of a model without a vocabulary: its tokens have no text."""

    def push(self, token: int, /) -> str:
        return ""

    def finish(self) -> str:
        return ""


def _tokenizer(gguf: ModelFile, backend: Backend) -> Tokenizer | None:
    """Return the tokenizer, or None where the file says that it has no vocabulary."""
    has_none = gguf.metadata.get("tokenizer.ggml.model", "none") in ("none", "no_vocab")
    if has_none:
        return None
    try:
        return Tokenizer(gguf, backend)
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(f"{gguf.path.name}: {error}") from None
