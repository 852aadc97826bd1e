"""`axiom verify`: make the text of a receipt again and compare every bit."""

from __future__ import annotations

from typing import Any

import click

from axiom.cli.options import json_option, open_runtime, verify_options
from axiom.cli.terminal import ProgressLine, echo_json

__all__ = ["command"]


@click.command("verify")
@click.argument("receipt", metavar="RECEIPT", type=click.Path(dir_okay=False))
@verify_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, receipt: str, as_json: bool, **options: Any) -> None:
    """Compute again what RECEIPT describes, on any body, kernel table and number of threads.

    Exit code 0 if every token and the bits of every logit are equal, 1 if not. The cache format is the receipt's.
    """
    from axiom.generation.receipt import Receipt
    from axiom.verification import verify

    claimed = Receipt.load(receipt)
    options["kv"] = options["kv"] or (claimed.kv if claimed.kv in ("f16", "f32") else "f16")
    with open_runtime(options) as runtime, ProgressLine("verifying") as progress:
        outcome = verify(claimed, runtime, progress)
    if as_json:
        echo_json({"equal": outcome.equal, "n_tokens": outcome.n_tokens, "difference": outcome.difference})
    elif outcome.equal:
        click.echo(f"equal: {outcome.n_tokens} tokens, and the bits of every logit before them")
    else:
        click.echo(f"different: {outcome.difference}")
    ctx.exit(0 if outcome.equal else 1)
