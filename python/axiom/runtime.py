"""`axiom.Runtime`: a model, loaded and ready, and everything that can be asked of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast, overload

from axiom.arguments import BYTES
from axiom.chat import ChatTemplate, Message, chosen_template
from axiom.errors import MemoryBudgetError, TemplateError
from axiom.generation.completion import Completion, Score
from axiom.generation.generation import Generation
from axiom.generation.request import GenerateOptions, Request, checked_tokens, is_list
from axiom.generation.sampling import Sampling
from axiom.generation.stream import Stream
from axiom.loaded_model import LoadedModel, Prompt
from axiom.session import Session

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Unpack

__all__ = ["Runtime"]

# Templates that stay compiled, for callers that go from one to another.
_N_TEMPLATES = 16
# What `render` takes beside the variables of a template.
_NO_VARIABLES = ("self", "messages", "template", "tools")


class Runtime(LoadedModel):
    """A model in memory. Use it as a context manager, or call `close` to free the memory.

    All methods may be called from several threads at once; each gets what it would have got alone.
    """

    def __enter__(self) -> Runtime:
        """Use it as a context manager: leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

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
        time for all. Raises `ContextLengthError` if a prompt leaves no room. Options, as `axiom.GenerateOptions`:

        `max_tokens`: most tokens to choose; None goes on until the model ends or the context is full.
        `temperature`, `top_k` and the others of `axiom.Sampling`, or `sampling`, one of these: what the model
        recommends is the default.
        `seed`: same seed, same tokens; None draws one, which the completion tells.
        `stop`, `stop_tokens`: strings and tokens to stop before; they are not in the text.
        `ignore_eos`: go on where the model would end.
        `timeout`: seconds after which to end.
        `logprobs`: report log-probabilities, with so many alternatives.
        `receipt`: return a receipt.
        `on_progress`: called with (prompt tokens done, prompt tokens in all).
        """
        prompts, is_list = _prompts(prompt)
        request = self.checked_request(options)
        names = [f"prompt[{i}]" for i in range(len(prompts))] if is_list else ["prompt"]
        generations = [
            self._start(self.prompt_tokens(prompt, name=name), request, name)
            for prompt, name in zip(prompts, names, strict=True)
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
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Completion:
        """Answer `messages`, a list of {"role": …, "content": …}, through the model's chat template.

        `template` and `tools` as in `render`; `template_variables` are its other variables. Options as in `generate`.
        """
        with self.chat_stream(
            messages, template=template, tools=tools, template_variables=template_variables, **options
        ) as stream:
            for _ in stream:
                pass
        return stream.result

    def chat_stream(
        self,
        messages: Sequence[Message],
        *,
        template: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        **options: Unpack[GenerateOptions],
    ) -> Stream:
        """Answer `messages` as `chat`, piece by piece as it comes."""
        variables = _checked_variables(template_variables)
        prompt = self.render(messages, template=template, tools=tools, **variables)
        return self._stream(self.chat_tokens(prompt), options)

    def render(
        self,
        messages: Sequence[Message],
        *,
        template: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Return the prompt that `chat` would make of `messages`.

        `template` is the name of one of the model's templates or Jinja source; None is the model's default. `tools` are
        descriptions of functions that the model may ask for, in the form that it knows. `variables` go to the template,
        such as `add_generation_prompt` or `enable_thinking`. Raises `TemplateError`, also where the template leaves
        tools out of the prompt.
        """
        known = _checked_tools(tools)
        compiled = self._template(chosen_template(self.gguf.metadata, template))
        prompt = compiled.render(messages, tools=known, **variables)
        if known and prompt == compiled.render(messages, **variables):
            raise TemplateError(
                "the chat template leaves tools out of the prompt, so that the model would not know of them; "
                "describe them in a message, or give a template that uses them with template="
            )
        return prompt

    @functools.cached_property
    def _template(self) -> Callable[[str], ChatTemplate]:
        """Compiles the source of a template, or finds it among the latest."""
        bos, eos = (self._token_text(token) for token in (self.tokenizer.bos_id, self.tokenizer.eos_id))
        return functools.lru_cache(_N_TEMPLATES)(functools.partial(ChatTemplate, bos_token=bos, eos_token=eos))

    # Probabilities

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return the logits after each of `tokens`, float32 `[n, n_vocab]`: row i predicts what follows token i."""
        import numpy as np

        checked = checked_tokens(tokens, self.config.n_vocab, "tokens")
        self.check_room(len(checked), "tokens")
        n_bytes, left = 4 * len(checked) * self.config.n_vocab, self._bytes_left(len(checked))
        if left is not None and n_bytes > left:
            raise MemoryBudgetError(
                f"the logits of {len(checked)} tokens take {n_bytes} bytes, but {left} are left; "
                "use iter_logits(), which yields one row at a time, or score()"
            )
        out = np.empty((len(checked), self.config.n_vocab), dtype=np.float32)
        if checked:
            for i, row in enumerate(self._logit_rows(checked, n_bytes if left is None else left - n_bytes)):
                out[i] = row
        return out

    def score(self, text: Prompt) -> Score:
        """Return the log-probability of each token of `text` but the first, and the perplexity."""
        tokens = self.prompt_tokens(text, name="text")
        if len(tokens) < 2:
            raise ValueError(f"text: expected two tokens or more to score one after another, got {len(tokens)}")
        sampler = self.body.sampler(self.config.n_vocab, **Sampling(seed=0).as_dict())
        rows = self.iter_logits(tokens[:-1])
        logprobs = tuple(sampler.logprobs(row, token)[0] for row, token in zip(rows, tokens[1:], strict=True))
        return Score(tuple(tokens), logprobs)

    # Sessions

    def session(self) -> Session:
        """Open a session: a sequence that stays between calls, to append to, fork, rewind and save."""
        return Session(self)

    def load_session(self, path: str | os.PathLike[str]) -> Session:
        """Open a session from what `Session.save` wrote, by this or any other body."""
        return Session.from_file(self, path)

    def chat_tokens(self, rendered: str) -> list[int]:
        """Return the tokens of a rendered chat: special tokens by their text, and a begin-of-text token once."""
        tokens = self.tokenizer.encode(rendered, add_special=False, parse_special=True)
        bos = self.tokenizer.bos_id
        if self.tokenizer.add_bos and bos is not None and tokens[:1] != [bos]:
            tokens.insert(0, bos)
        return tokens

    def _start(self, tokens: Sequence[int], request: Request, name: str = "prompt") -> Generation:
        if not tokens:
            raise ValueError(f"{name}: expected one token or more, got none; give one for the text to begin with")
        self.check_room(len(tokens) + 1, name)
        return self.new_generation(request, history=tokens, pending=tokens)

    def _stream(self, tokens: Sequence[int], options: GenerateOptions) -> Stream:
        generation = self._start(tokens, self.checked_request(options))
        return Stream(generation, self.run([generation], options.get("on_progress")))

    def _token_text(self, token: int | None) -> str:
        return "" if token is None else self.tokenizer.token_text(token)


def _prompts(prompt: Prompt | Sequence[Prompt]) -> tuple[list[Prompt], bool]:
    """Tell one prompt from a list of them: a string and a list of integers are one, anything else a list."""
    if isinstance(prompt, str):
        return [prompt], False
    if isinstance(prompt, BYTES) or not is_list(prompt):
        raise TypeError(f"prompt: expected a string, a list of tokens, or a list of these, got {type(prompt).__name__}")
    items = list(prompt)
    if items and not any(is_list(item) for item in items):
        return [cast("Sequence[int]", items)], False
    return cast("list[Prompt]", items), True


def _checked_variables(variables: Any) -> Mapping[str, Any]:
    if variables is None:
        return {}
    if not isinstance(variables, Mapping):
        raise TypeError(f"template_variables: expected a mapping from names to values, got {variables!r:.80}")
    for name in variables:
        if not isinstance(name, str):
            raise TypeError(f"template_variables: expected names that are strings, got {name!r:.80}")
        if name in _NO_VARIABLES:
            raise ValueError(f"template_variables: expected no {name!r}, which is an argument of the call itself")
    return variables


def _checked_tools(tools: Any) -> list[Mapping[str, Any]]:
    if tools is None:
        return []
    if isinstance(tools, str) or not is_list(tools) or not all(isinstance(tool, Mapping) for tool in tools):
        raise TypeError(f"tools: expected a list of mappings, each the description of a function, got {tools!r:.80}")
    return list(tools)
