"""`axiom chat`: talk with a model that has a chat template."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import click

from axiom.cli.options import TEXT, generate_options, open_runtime, runtime_options, sampling_options
from axiom.cli.run import echo_stats
from axiom.cli.terminal import ProgressLine, error_line

__all__ = ["command"]

_HELP = """\
/reset          forget the conversation
/system TEXT    set the system message (and forget the conversation); without TEXT, show it
/undo           take back the last question and answer
/show           show the prompt as the model sees it
/save FILE      save the conversation as JSON messages
/load FILE      go on with a saved conversation
/help           show this
/quit           leave (or Ctrl-D); Ctrl-C ends an answer"""


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
            click.echo(f"{runtime.gguf.path.name}. /help lists commands, Ctrl-D leaves.", err=True)
        while True:
            try:
                line = input("> " if sys.stdin.isatty() else "")
            except EOFError:
                if sys.stdin.isatty():
                    click.echo()
                return
            if line.strip() and not chat.take(line):
                return


class _Chat:
    """The conversation, and what the commands do to it."""

    def __init__(
        self,
        runtime: Any,
        session: Any,
        system: str | None,
        template: str | None,
        show_prompt: bool,
        stats: bool,
        options: Any,
    ):
        self.runtime, self.session, self.options = runtime, session, options
        self.template, self.show_prompt, self.stats = template, show_prompt, stats
        self.messages: list[dict[str, str]] = []
        self.set_system(system)

    def set_system(self, text: str | None) -> None:
        self.messages = [{"role": "system", "content": text}] if text else []

    def take(self, line: str) -> bool:
        """Act on a line; return whether to go on."""
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
            "show": lambda: click.echo(self._render()),
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
            self.session.advance_to(self.runtime.chat_tokens(prompt))
            stream = self.session.stream(**self.options, on_progress=(progress := ProgressLine("reading")))
            try:
                for piece in stream:
                    progress.clear()
                    click.echo(piece, nl=False)
                    sys.stdout.flush()
            except KeyboardInterrupt:
                # It ends the answer; what there is of it stays in the conversation.
                if not sys.stdin.isatty():
                    raise
            finally:
                progress.clear()
            completion = stream.result
        except BaseException:
            self.messages.pop()
            raise
        click.echo()
        self.messages.append({"role": "assistant", "content": completion.text})
        if self.stats:
            echo_stats(completion)

    def _guarded(self, action: Any) -> None:
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
        prompt: str = self.runtime.render(self.messages, template=self.template)
        return prompt

    def _undo(self) -> None:
        while self.messages and self.messages[-1]["role"] != "system":
            if self.messages.pop()["role"] == "user":
                return

    def _save(self, path: str) -> None:
        import json

        from axiom.files import write_whole

        if not path:
            raise ValueError("/save needs a file name")
        write_whole(path, [json.dumps(self.messages, indent=1, ensure_ascii=False).encode("utf-8"), b"\n"])

    def _load(self, path: str) -> None:
        import json
        from pathlib import Path

        from axiom.chat import checked_messages

        if not path:
            raise ValueError("/load needs a file name")
        content = Path(path).read_bytes()
        try:
            self.messages = checked_messages(json.loads(content))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected messages as /save writes them: {error}") from None
