"""`axiom run`: continue a text."""

from __future__ import annotations

import contextlib
import itertools
import sys
from typing import TYPE_CHECKING, Any

import click

from axiom.cli.options import (
    TEXT,
    generate_options,
    json_option,
    open_runtime,
    read_text,
    runtime_options,
    sampling_options,
)
from axiom.cli.terminal import ProgressLine, echo_json

if TYPE_CHECKING:
    from axiom.generation.completion import Completion
    from axiom.runtime import Runtime
    from axiom.telemetry import TelemetryFile

__all__ = ["command", "echo_stats"]


@click.command("run")
@click.argument("prompt", type=TEXT, required=False)
@runtime_options
@sampling_options
@click.option("--echo/--no-echo", default=True, show_default=True, help="Print the prompt before the text.")
@click.option("--receipt", "receipt_path", metavar="FILE", help="Write a receipt, for `axiom verify`.")
@click.option("--telemetry", "telemetry_path", metavar="FILE", help="Write what every layer took, for `axiom plot`.")
@click.option("--stats", is_flag=True, help="Say on standard error how fast it was, and with which seed.")
@json_option
def command(
    prompt: str | None,
    echo: bool,
    receipt_path: str | None,
    telemetry_path: str | None,
    stats: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Continue PROMPT, as it comes. "-" reads the prompt from standard input."""
    from axiom.files import checked_target

    text = read_text(prompt, "prompt")
    if receipt_path is not None:
        # Said now, not when the text has been made.
        checked_target(receipt_path, special=True)
    with open_runtime(options) as runtime, _telemetry(telemetry_path, runtime) as telemetry:
        wanted = generate_options(options)
        if receipt_path is not None:
            wanted["receipt"] = True
        with ProgressLine("reading the prompt") as progress:
            wanted["on_progress"] = progress
            stream = runtime.stream(text, **wanted)
            pieces = iter([*itertools.islice(stream, 1)])
        # The prompt is echoed now, where the progress line was.
        if not as_json and echo:
            click.echo(text, nl=False)
        for piece in itertools.chain(pieces, stream):
            if not as_json:
                # Flushed, since a reader wants to see the text grow.
                click.echo(piece, nl=False)
                sys.stdout.flush()
            if telemetry is not None:
                telemetry.write()
        completion = stream.result
        if as_json:
            # The receipt has a file of its own.
            echo_json(completion.replace(receipt=None).as_dict())
        else:
            click.echo()
        if receipt_path is not None:
            assert completion.receipt is not None
            completion.receipt.save(receipt_path)
        if stats:
            echo_stats(completion)


def _telemetry(path: str | None, runtime: Runtime) -> contextlib.AbstractContextManager[TelemetryFile | None]:
    if path is None:
        return contextlib.nullcontext()
    from axiom.telemetry import TelemetryFile

    return TelemetryFile(path, runtime)


def echo_stats(completion: Completion) -> None:
    """Print a line about a completion on standard error."""
    timings, usage = completion.timings, completion.usage
    click.echo(
        f"{usage.prompt_tokens} prompt tokens at {timings.prefill_tokens_per_s:.1f}/s, "
        f"{usage.completion_tokens} tokens at {timings.decode_tokens_per_s:.1f}/s, "
        f"ended by {completion.finish_reason}, seed {completion.seed}",
        err=True,
    )
