"""The commands: what there is, and how one is run and every error told in a line."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "run": "Continue a text.",
    "chat": "Talk with a model that has a chat template.",
    "inspect": "Show what a model file holds, and at which context it fits in memory.",
    "tokenize": "Show the tokens of a text, or the text of tokens.",
    "score": "Compute how probable a model finds a text.",
    "bench": "Measure the speed of prefill and decode.",
    "pack": "Make an image of a model, which can run in less memory than it has.",
    "verify-image": "Check every byte of an image against its digests.",
    "image": "Make a disk image that boots and runs a model.",
    "boot": "Boot a disk image or a model in QEMU, without an operating system.",
    "verify": "Make the text of a receipt again and compare every bit.",
    "plot": "Draw the timeline of a run from its telemetry.",
    "doctor": "Show what was detected on this machine, what is chosen, and why.",
}


class _LazyGroup(click.Group):
    """Imports a command when it is called; help lists them from the table alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = import_module(f"axiom.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import axiom

        click.echo(f"axiom {axiom.__version__}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def _group() -> None:
    """Run transformer language models, with the same bits on every machine.

    Try `axiom run "Once upon a time"`: it needs no download. Every command has its own --help.
    """


def _end_in_order() -> None:
    """Have the signals that ask the program to end do so by an exception: half files and machines go with it."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def run() -> int:
    """Run the command that this process was started with, and return the exit code."""
    from axiom.cli.terminal import error_line, prepare_streams
    from axiom.errors import AxiomError

    prepare_streams()
    _end_in_order()
    try:
        # Not through Group.main, which handles Ctrl-C and broken pipes in ways of its own.
        with _group.make_context("axiom", sys.argv[1:]) as ctx:
            _group.invoke(ctx)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        return 1
    except ModuleNotFoundError:
        raise
    except Exception as error:
        if os.environ.get("AXIOM_TRACEBACK"):
            raise
        told = error_line(error)
        if not isinstance(error, AxiomError | OSError | ValueError | MemoryError):
            told = f"{type(error).__name__}: {told}: a defect of the program; AXIOM_TRACEBACK=1 shows where"
        click.echo(f"axiom: error: {told}", err=True)
        return 1
