"""`axiom.Runtime`: a model, loaded and ready, and everything that can be asked of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import numpy.typing as npt

from axiom.body import Backend, load_body
from axiom.chat import ChatTemplate, Message, chosen_template
from axiom.completion import Completion, Score
from axiom.engine import open_engine
from axiom.errors import ContextLengthError, MemoryBudgetError, UnsupportedModelError
from axiom.generation import CHUNK_TOKENS, Generation, run_generations
from axiom.hardware import memory_budget, parse_memory
from axiom.model_config import KVFormat, ModelConfig
from axiom.model_file import ModelFile, open_model
from axiom.receipt import CONTRACT, Receipt, ReceiptRecorder
from axiom.request import GenerateOptions, Request, checked_request, checked_tokens
from axiom.sampling import Sampling
from axiom.session import Session
from axiom.shared_engine import SharedEngine
from axiom.speculation import NgramDrafter
from axiom.stream import Stream
from axiom.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Prompt", "Runtime", "default_model_path"]

Prompt = str | Sequence[int]

# Logit rows that are held at once where all positions are asked for.
_LOGIT_ROWS_BYTES = 64 << 20


def default_model_path() -> Path:
    """Return the path of the model that comes with the package."""
    folder = Path(__file__).parent / "models"
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise FileNotFoundError(f"no model in {folder}: this installation lacks the default model; give a .gguf file")
    return found[0]


class Runtime:
    """A model in memory. Use it as a context manager, or call `close` to free the memory.

    All methods may be called from several threads at once; each gets what it would have got alone.
    """

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
        that is larger is streamed from its disk.
        `speculate` guesses several tokens ahead, from what stood in the text before, and computes them in one pass: the
        same text in fewer passes (`axiom.speculation`); None does so where weights are streamed. `paranoid` checks a
        streamed layer's digest each time that it is read, not the first time alone. `on_load(n_done, n_bytes)` is
        called as weights load.

        Raises `ModelFormatError`, `UnsupportedModelError`, `ContextLengthError` or `MemoryBudgetError` where the model
        cannot be run as asked, `OSError` where it cannot be read, and `axiom.bare.kernel.BareError` where a bare
        machine cannot be started.
        """
        self.gguf = (
            model if isinstance(model, ModelFile) else open_model(default_model_path() if model is None else model)
        )
        """The header of the model's file."""
        self.config = ModelConfig.from_gguf(self.gguf)
        """The shape of the model."""
        self.body = load_body(backend)
        self.backend: Backend = backend
        self._tokenizer = _tokenizer(self.gguf, backend)
        self.default_sampling = Sampling.from_metadata(self.gguf.metadata)
        """What the model recommends in its header, or `Sampling()`: used for what a call does not set."""
        engine, self.capacity = open_engine(
            self.gguf,
            self.config,
            n_ctx=n_ctx,
            threads=threads,
            kernels=kernels,
            kv=kv,
            backend=backend,
            n_seq_max=n_seq_max,
            memory=None if memory is None else parse_memory(memory),
            paranoid=paranoid,
            progress=on_load,
        )
        self.engine = SharedEngine(engine)
        self.n_ctx = self.engine.n_ctx
        """Positions of one sequence."""
        self.contract = f"{CONTRACT} kv={kv}"
        """Name of the arithmetic, as receipts have it."""
        # Where weights are streamed a pass costs the same for many tokens as for one.
        self._speculates = self.is_streamed if speculate is None else speculate
        self._templates: dict[str, ChatTemplate] = {}
        self._digest: str | None = None

    def __repr__(self) -> str:
        """Show the model and how it runs."""
        state = "closed" if self.engine.closed else f"n_ctx={self.n_ctx}"
        return f"Runtime({self.gguf.path.name!r}, backend={self.backend!r}, {state})"

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
        return bool(self.engine.info().get("bytes_streamed"))

    # Generation

    # A str is also a sequence of str, so the two overlap; the first wins, as it does at run time.
    @overload
    def generate(self, prompt: Prompt, **options: Unpack[GenerateOptions]) -> Completion: ...  # type: ignore[overload-overlap]
    @overload
    def generate(self, prompt: Sequence[Prompt], **options: Unpack[GenerateOptions]) -> list[Completion]: ...
    def generate(
        self, prompt: Prompt | Sequence[Prompt], **options: Unpack[GenerateOptions]
    ) -> Completion | list[Completion]:
        """Continue a text, or a list of texts together.

        A prompt is a string or a list of tokens. Of a list, each gets the tokens that it would have got alone, in less
        time for all. `GenerateOptions` documents the options. Raises `ContextLengthError` if a prompt leaves no room.
        """
        prompts, is_list = _prompts(prompt)
        request_of = [self.checked_request(options) for _ in prompts]
        generations = [
            self._start(self.prompt_tokens(p), request) for p, request in zip(prompts, request_of, strict=True)
        ]
        for _ in self.run(generations, options.get("on_progress")):
            pass
        completions = [generation.completion() for generation in generations]
        return completions if is_list else completions[0]

    def stream(self, prompt: Prompt, **options: Unpack[GenerateOptions]) -> Stream:
        """Continue one text, piece by piece as it comes. Options as in `generate`."""
        return self._stream(self.prompt_tokens(prompt), options)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        template: str | None = None,
        template_variables: dict[str, Any] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Completion:
        """Answer `messages`, a list of {"role": …, "content": …}, through the model's chat template.

        `template` chooses a template as in `render`. Other options as in `generate`.
        """
        stream = self.chat_stream(messages, template=template, template_variables=template_variables, **options)
        for _ in stream:
            pass
        return stream.result

    def chat_stream(
        self,
        messages: Sequence[Message],
        *,
        template: str | None = None,
        template_variables: dict[str, Any] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Stream:
        """Answer `messages` as `chat`, piece by piece as it comes."""
        prompt = self.render(messages, template=template, **(template_variables or {}))
        return self._stream(self.chat_tokens(prompt), options)

    def render(self, messages: Sequence[Message], *, template: str | None = None, **variables: Any) -> str:
        """Return the prompt that `chat` would make of `messages`.

        `template` is the name of one of the model's templates or Jinja source; None is the model's default. `variables`
        go to the template, such as `tools`, `add_generation_prompt` or `enable_thinking`. Raises `TemplateError`.
        """
        source = chosen_template(self.gguf.metadata, template)
        compiled = self._templates.get(source)
        if compiled is None:
            compiled = self._templates[source] = ChatTemplate(
                source,
                bos_token=self._token_text(self.tokenizer.bos_id),
                eos_token=self._token_text(self.tokenizer.eos_id),
            )
        return compiled.render(messages, **variables)

    # Probabilities

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the logits after each of `tokens`, float32 `[n, n_vocab]`: row i predicts what follows token i."""
        checked = checked_tokens(tokens, self.config.n_vocab, "tokens")
        n_bytes, usable = 4 * len(checked) * self.config.n_vocab, memory_budget().usable_bytes
        if usable is not None and n_bytes > usable:
            raise MemoryBudgetError(
                f"the logits of {len(checked)} tokens take {n_bytes} bytes, but {usable} are usable; "
                "use iter_logits(), which yields one row at a time, or score()"
            )
        out = np.empty((len(checked), self.config.n_vocab), dtype=np.float32)
        if checked:
            for i, row in enumerate(self.iter_logits(checked)):
                out[i] = row
        return out

    def iter_logits(
        self,
        tokens: Sequence[int],
        *,
        first_row: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the rows of `logits` from `first_row` on, one at a time, holding no more than a chunk of them."""
        self._check_room(len(tokens))
        rows_at_once = max(1, min(CHUNK_TOKENS, _LOGIT_ROWS_BYTES // (4 * self.config.n_vocab)))
        seq = cast(int, self.engine.open_sequence())
        try:
            done = 0
            while done < len(tokens):
                before = done < first_row
                n = min(CHUNK_TOKENS, first_row - done) if before else min(rows_at_once, len(tokens) - done)
                rows = self.engine.forward([seq], [tokens[done : done + n]], "none" if before else "all")
                done += n
                if on_progress is not None:
                    on_progress(done, len(tokens))
                yield from rows
        finally:
            self.engine.close_sequence(seq)

    def score(self, text: Prompt) -> Score:
        """Return the log-probability of each token of `text` but the first, and the perplexity."""
        tokens = self.prompt_tokens(text)
        if len(tokens) < 2:
            raise ValueError(f"text: expected two tokens or more to score one after another, got {len(tokens)}")
        sampler = self.body.sampler(self.config.n_vocab, **Sampling(seed=0).as_dict())
        rows = self.iter_logits(tokens[:-1])
        logprobs = tuple(sampler.logprobs(row, token)[0] for row, token in zip(rows, tokens[1:], strict=True))
        return Score(tuple(tokens), logprobs, math.exp(-sum(logprobs) / len(logprobs)))

    # Sessions

    def session(self) -> Session:
        """Open a session: a sequence that stays between calls, to append to, fork, rewind and save."""
        return Session(self)

    def load_session(self, path: str | os.PathLike[str]) -> Session:
        """Open a session from what `Session.save` wrote, by this or any other body."""
        return Session.from_file(self, path)

    # What it is

    @property
    def telemetry(self) -> dict[str, Any]:
        """Times and counts of the engine so far, with what it chose at start."""
        return {"info": self.engine.info(), **self.engine.telemetry()}

    def model_sha256(self, progress: Callable[[int, int], None] | None = None) -> str:
        """Return the SHA-256 of the model's file. The first call reads all of it."""
        if self._digest is None:
            self._digest = self.gguf.digest(progress)
        return self._digest

    def close(self) -> None:
        """Free the model. Every later call raises `RuntimeError`; closing twice does nothing."""
        self.engine.close()

    def __enter__(self) -> Runtime:
        """Use it as a context manager: leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # For sessions, receipts and the command line

    def prompt_tokens(self, prompt: Prompt, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Return the tokens of a prompt; a list of tokens is checked and kept as it is."""
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, add_special=add_special, parse_special=parse_special)
        if isinstance(prompt, bytes) or not isinstance(prompt, Sequence | np.ndarray):
            raise TypeError(f"prompt: expected a string or a list of tokens, got {type(prompt).__name__}")
        return checked_tokens(prompt, self.config.n_vocab, "prompt")

    def chat_tokens(self, rendered: str) -> list[int]:
        """Return the tokens of a rendered chat: special tokens by their text, and a begin-of-text token once."""
        tokens = self.tokenizer.encode(rendered, add_special=False, parse_special=True)
        bos = self.tokenizer.bos_id
        if self.tokenizer.add_bos and bos is not None and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        return tokens

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
        logits: npt.NDArray[np.float32] | None = None,
        seq: int | None = None,
    ) -> Generation:
        """Make a generation that goes on after `history`, of which `pending` is yet to be computed."""
        recorder = None
        if request.receipt:
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
        # After nothing but a begin-of-text token the text begins here; after a prompt it goes on.
        at_start = len(history) <= 1
        return Generation(
            request,
            history=history,
            pending=pending,
            n_ctx=self.n_ctx,
            sampler=self.body.sampler(self.config.n_vocab, **request.sampling.as_dict()),
            decoder=_NoText() if self._tokenizer is None else self._tokenizer.decoder(at_start=at_start),
            recorder=recorder,
            logits=logits,
            seq=seq,
            drafter=NgramDrafter() if self._speculates else None,
        )

    def run(
        self, generations: Sequence[Generation], on_progress: Callable[[int, int], None] | None = None
    ) -> Generator[tuple[Generation, str]]:
        """Carry generations to their ends together; yield each piece of text as it comes."""
        return run_generations(self.engine, generations, self.body.stop_flag, on_progress)

    def _start(self, tokens: Sequence[int], request: Request) -> Generation:
        if not tokens:
            raise ValueError("prompt: expected one token or more, got none, and the model has no begin-of-text token")
        self._check_room(len(tokens) + 1)
        return self.new_generation(request, history=tokens, pending=tokens)

    def _stream(self, tokens: Sequence[int], options: GenerateOptions) -> Stream:
        generation = self._start(tokens, self.checked_request(options))
        return Stream(generation, self.run([generation], options.get("on_progress")))

    def _check_room(self, n_tokens: int) -> None:
        if n_tokens > self.n_ctx:
            bound = "the model's own length" if self.capacity.bounded_by == "model" else "as the runtime was opened"
            raise ContextLengthError(
                f"the prompt and what must follow it have {n_tokens} tokens, but the context has {self.n_ctx} "
                f"positions ({bound}); shorten the prompt, or open the runtime with a larger n_ctx"
            )

    def _token_text(self, token: int | None) -> str:
        return "" if token is None else self.tokenizer.token_text(token)


class _NoText:
    """The decoder of a model without a vocabulary: its tokens have no text."""

    def push(self, token: int, /) -> str:
        return ""

    def finish(self) -> str:
        return ""


def _tokenizer(gguf: ModelFile, backend: Backend) -> Tokenizer | None:
    """Return the tokenizer, or None where the file says that it has no vocabulary."""
    has_none = gguf.metadata.get("tokenizer.ggml.model", "none") in ("none", "no_vocab")
    return None if has_none else Tokenizer(gguf, backend)


def _prompts(prompt: Prompt | Sequence[Prompt]) -> tuple[list[Prompt], bool]:
    """Tell one prompt from a list of them: a string and a list of integers are one, anything else a list."""
    if isinstance(prompt, str):
        return [prompt], False
    if isinstance(prompt, bytes) or not isinstance(prompt, Sequence | np.ndarray):
        raise TypeError(f"prompt: expected a string, a list of tokens, or a list of these, got {type(prompt).__name__}")
    items = list(prompt)
    if items and not any(isinstance(item, str | Sequence | np.ndarray) for item in items):
        return [cast("Sequence[int]", items)], False
    return cast("list[Prompt]", items), True
