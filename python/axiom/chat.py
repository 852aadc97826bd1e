"""From messages to a prompt: the model's own chat template, run in a sandbox."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from axiom.errors import TemplateError
from axiom.model_file.gguf_cursor import MetadataValue

__all__ = ["ChatTemplate", "Message", "checked_messages", "chosen_template", "named_templates"]

Message = Mapping[str, Any]

_KEY = "tokenizer.chat_template"
# Some templates have 20,000. Compiling takes longer than in proportion.
_MAX_SOURCE_CHARS = 1 << 17
_MAX_WORDS = 500
_OTHER = "give another with template= (--template)"


class ChatTemplate:
    """A compiled Jinja template that renders messages as a model expects them.

    >>> template = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    >>> template.render([{"role": "user", "content": "Hello"}])
    '<user>Hello'
    """

    def __init__(self, source: str, *, bos_token: str = "", eos_token: str = ""):
        """Compile `source`. Raises `TemplateError` if it is no valid template."""
        from jinja2.exceptions import TemplateSyntaxError

        from axiom.chat_sandbox import ChatEnvironment

        if len(source) > _MAX_SOURCE_CHARS:
            raise TemplateError(
                f"the chat template has {len(source)} characters, over the limit of {_MAX_SOURCE_CHARS}; {_OTHER}"
            )
        self.source = source
        self._special = {"bos_token": bos_token, "eos_token": eos_token}
        self._environment = ChatEnvironment()
        self._lock = threading.Lock()
        try:
            self._template = self._environment.compile_counted(source)
        except TemplateSyntaxError as error:
            told = f"line {error.lineno}: {error.message}"[:_MAX_WORDS]
            raise TemplateError(f"the chat template is not valid: {told}; {_OTHER}") from error
        except Exception as error:
            # Whatever the code of a stranger raises is the stranger's.
            told = f"{type(error).__name__}: {error}"[:_MAX_WORDS]
            raise TemplateError(f"the chat template cannot be compiled: {told}; {_OTHER}") from error

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """Return the prompt for `messages`, ready for the assistant to answer.

        `variables` go to the template as they are, such as `enable_thinking=False` for models that know it. Raises
        `TemplateError` if the template fails, refuses the messages, or runs past its limits.
        """
        from axiom.chat_limits import MAX_CHARS
        from axiom.chat_sandbox import Refusal

        context = {**self._special, "tools": tools or None, "documents": None, **variables}
        context |= {"messages": checked_messages(messages), "add_generation_prompt": add_generation_prompt}
        pieces: list[str] = []
        n_chars = 0
        with self._lock:
            self._environment.meter.reset()
            try:
                for piece in self._template.generate(context):
                    pieces.append(piece)
                    n_chars += len(piece)
                    if n_chars > MAX_CHARS:
                        raise TemplateError(f"the chat template writes more than {MAX_CHARS} characters")
            except Refusal as error:
                raise TemplateError(f"the chat template refuses these messages: {error}") from error
            except TemplateError as error:
                raise TemplateError(f"{error}; {_OTHER}") from error
            except (RecursionError, MemoryError) as error:
                told = type(error).__name__
                raise TemplateError(f"the chat template runs past its limits: {told}; {_OTHER}") from error
            except Exception as error:
                told = f"{type(error).__name__}: {error}"[:_MAX_WORDS]
                raise TemplateError(f"the chat template fails on these messages: {told}; {_OTHER}") from error
            finally:
                self._environment.meter.reset()
        return "".join(pieces)


def checked_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Check the shape of `messages` and return copies: a role for each, and a text or tool calls.

    >>> checked_messages([{"role": "user"}])
    Traceback (most recent call last):
      ...
    ValueError: messages[0]: expected a 'content' that is a string, got None
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise TypeError(f"messages: expected a list of {{'role': …, 'content': …}}, got {type(messages).__name__}")
    if not messages:
        raise ValueError("messages: expected at least one message, got an empty list")
    checked = []
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(f"messages[{i}]: expected a mapping with 'role' and 'content', got {message!r}"[:200])
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not role:
            raise ValueError(f"messages[{i}]: expected a 'role' such as 'user' or 'assistant', got {role!r}")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise ValueError(f"messages[{i}]: expected a 'content' that is a string, got {content!r}"[:200])
        checked.append(dict(message))
    return checked


def named_templates(metadata: Mapping[str, MetadataValue]) -> dict[str, str]:
    """Return the templates in a model's header by name; the unnamed one is "default"."""
    found = {}
    for key, value in metadata.items():
        if isinstance(value, str) and (key == _KEY or key.startswith(_KEY + ".")):
            found[key[len(_KEY) + 1 :] or "default"] = value
    return found


def chosen_template(metadata: Mapping[str, MetadataValue], template: str | None) -> str:
    """Return the source of a template: the model's default, one of its named ones, or `template` itself if it is Jinja.

    Raises `TemplateError` where there is none, with the choices.
    """
    if template is not None and not isinstance(template, str):
        raise TypeError(f"template: expected a name or Jinja source, got {template!r}")
    named = named_templates(metadata)
    if template is not None and "{" in template:
        return template
    if template is None and "default" in named:
        return named["default"]
    if template in named:
        return named[template]
    has = f"has the chat templates {', '.join(sorted(named))}" if named else "has no chat template"
    asked = "" if template is None else f", and none named {template!r}"
    name = "the name of one, or " if named else ""
    raise TemplateError(
        f"the model {has}{asked}; give template= (--template) {name}Jinja source, "
        "or have it continue a text: generate() (`axiom run`)"
    )
