"""`axiom chat`: talk with a model that has a chat template."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axiom.cli.options import (
    TEXT,
    generate_options,
    longer_context,
    open_runtime,
    runtime_options,
    sampling_options,
)
from axiom.cli.run import echo_stats
from axiom.cli.terminal import ProgressLine, checked_text, error_line, printable

if TYPE_CHECKING:
    from axiom.generation.request import GenerateOptions
    from axiom.runtime import Runtime
    from axiom.session import Session

__all__ = ["command"]

_HELP = """\
/reset          forget the conversation, and keep the system message
/system TEXT    set the system message, forget the rest; without TEXT, show it
/undo           take back the last question and answer
/show           show the prompt as the model sees it
/save FILE      save the conversation as JSON messages
/load FILE      go on with a saved conversation
/help           show this
/quit           leave (or Ctrl-D); Ctrl-C ends an answer and no more"""


@click.command("chat")
@click.argument("message", type=TEXT, required=False)
@runtime_options
@sampling_options
@click.option("--system", type=TEXT, metavar="TEXT", help="System message.")
@click.option("--template", type=TEXT, metavar="NAME", help="One of the model's named templates, or Jinja source.")
@click.option("--show-prompt", is_flag=True, help="Print the rendered prompt on standard error before each answer.")
@click.option("--stats", is_flag=True, help="Say on standard error how fast each answer was.")
def command(
    message: str | None, system: str | None, template: str | None, show_prompt: bool, stats: bool, **options: Any
) -> None:
    """Talk with a model. With MESSAGE, answer that and leave."""
    with open_runtime(options) as runtime, runtime.session() as session:
        chat = _Chat(runtime, session, system, template, show_prompt, stats, generate_options(options))
        if message is not None:
            chat.answer(message)
            return
        # Before the first question, so that a model without a template says so at once.
        runtime.render([{"role": "user", "content": ""}], template=template)
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - importing it gives input() history and editing
        if sys.stdin.isatty():
            click.echo(f"{printable(runtime.gguf.path.name)}. /help lists commands, Ctrl-D leaves.", err=True)
        while True:
            try:
                line = input("> " if sys.stdin.isatty() else "")
                if line.strip() and not chat.take(line):
                    return
            except EOFError:
                if sys.stdin.isatty():
                    click.echo()
                return
            except KeyboardInterrupt:
                # Where there is no answer to end. It may be meant for one that has just ended.
                if not sys.stdin.isatty():
                    raise
                click.echo("\nCtrl-D leaves.", err=True)


class _Chat:
    """The conversation, and what the commands do to it."""

    def __init__(
        self,
        runtime: Runtime,
        session: Session,
        system: str | None,
        template: str | None,
        show_prompt: bool,
        stats: bool,
        options: GenerateOptions,
    ):
        self.runtime, self.session, self.options = runtime, session, options
        self.template, self.show_prompt, self.stats = template, show_prompt, stats
        self.messages: list[dict[str, str]] = []
        self.set_system(system)

    def set_system(self, text: str | None) -> None:
        self.messages = [{"role": "system", "content": text}] if text else []

    def take(self, line: str) -> bool:
        """Act on a line; return whether to go on."""
        try:
            checked_text(line)
        except ValueError as error:
            click.echo(f"error: {error_line(error)}", err=True)
            return True
        if not line.startswith("/"):
            self._guarded(lambda: self.answer(line))
            return True
        name, _, rest = line[1:].partition(" ")
        rest = rest.strip()
        if name in ("quit", "exit"):
            return False
        actions = {
            "reset": lambda: self.set_system(self._system()),
            "system": lambda: self.set_system(rest) if rest else click.echo(self._system() or "(none)"),
            "undo": self._undo,
            "show": lambda: click.echo(self._render() if self.messages else "(nothing yet)"),
            "save": lambda: self._save(rest),
            "load": lambda: self._load(rest),
            "help": lambda: click.echo(_HELP),
        }
        if name in actions:
            self._guarded(actions[name])
        else:
            click.echo(f"no command /{name}; /help lists them", err=True)
        return True

    def answer(self, question: str) -> None:
        """Ask the model and print what it says; a failed question is taken back."""
        self.messages.append({"role": "user", "content": question})
        try:
            prompt = self._render()
            if self.show_prompt:
                click.echo(prompt, err=True)
            tokens = self.runtime.chat_tokens(prompt)
            self._check_room(len(tokens) + 1)
            self.session.advance_to(tokens)
            options = self.options.copy()
            options["on_progress"] = progress = ProgressLine("reading")
            stream = self.session.stream(**options)
            try:
                # Ctrl-C may come while a piece is shown, too: the stream is ended before it is asked for its result.
                with stream, progress:
                    for piece in stream:
                        progress.clear()
                        click.echo(piece, nl=False)
                        sys.stdout.flush()
            except KeyboardInterrupt:
                # It ends the answer; what there is of it stays in the conversation.
                if not sys.stdin.isatty():
                    raise
            completion = stream.result
        except BaseException:
            self.messages.pop()
            raise
        self.messages.append({"role": "assistant", "content": completion.text})
        click.echo()
        if completion.finish_reason == "context":
            click.echo(f"the answer is cut off: {self._full()}", err=True)
        if self.stats:
            echo_stats(completion)

    def _check_room(self, n_tokens: int) -> None:
        from axiom.errors import ContextLengthError

        if n_tokens > self.runtime.n_ctx:
            raise ContextLengthError(f"the conversation needs {n_tokens} positions with an answer, and {self._full()}")

    def _full(self) -> str:
        """What there is to say and to do where the context is too short."""
        has_before = [message["role"] for message in self.messages].count("user") > 1
        shorter = "take back questions with /undo, forget all with /reset" if has_before else "shorten the message"
        return f"the context has {self.runtime.n_ctx}; {shorter}, or start with {longer_context(self.runtime)}"

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do it; an error is a line, and the conversation goes on."""
        from axiom.errors import AxiomError

        try:
            action()
        except BrokenPipeError:
            raise
        except (AxiomError, OSError, ValueError) as error:
            click.echo(f"error: {error_line(error)}", err=True)

    def _system(self) -> str | None:
        first = self.messages[0] if self.messages else None
        return first["content"] if first and first["role"] == "system" else None

    def _render(self) -> str:
        return self.runtime.render(self.messages, template=self.template)

    def _undo(self) -> None:
        questions = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        if not questions:
            click.echo("there is nothing to take back", err=True)
            return
        click.echo(f"taken back: {self.messages[questions[-1]]['content']}", err=True)
        del self.messages[questions[-1] :]

    def _save(self, path: str) -> None:
        import json

        from axiom.files import write_whole

        if not path:
            raise ValueError("/save needs a file name")
        conversation = json.dumps(self.messages, indent=1, ensure_ascii=False).encode("utf-8")
        write_whole(_typed_path(path), [conversation, b"\n"], *self.runtime.gguf.paths)

    def _load(self, path: str) -> None:
        import json

        from axiom.chat import checked_messages

        if not path:
            raise ValueError("/load needs a file name")
        content = _typed_path(path).read_bytes()
        try:
            self.messages = checked_messages(json.loads(content))
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path}: expected messages as /save writes them: {error}") from None


def _typed_path(text: str) -> Path:
    """Return the path whose bytes were typed, where the locale is of another encoding than standard input."""
    return Path(os.fsdecode(text.encode(sys.stdin.encoding)))
