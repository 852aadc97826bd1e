"""`axiom score`: compute how probable a model finds a text."""

from __future__ import annotations

from typing import Any

import click

from axiom.cli.options import TEXT, json_option, open_runtime, read_text, runtime_options
from axiom.cli.terminal import echo_json, format_table

__all__ = ["command"]


@click.command("score")
@click.argument("text", type=TEXT, required=False)
@runtime_options
@click.option("--tokens", "per_token", is_flag=True, help="Show every token with its log-probability.")
@json_option
def command(text: str | None, per_token: bool, as_json: bool, **options: Any) -> None:
    """Compute the log-probability and perplexity of TEXT ("-" is standard input)."""
    given = read_text(text, "text")
    with open_runtime(options) as runtime:
        score = runtime.score(given)
        if as_json:
            echo_json(
                {
                    "tokens": list(score.tokens),
                    "logprobs": list(score.logprobs),
                    "total_logprob": score.total_logprob,
                    "perplexity": score.perplexity,
                }
            )
            return
        if per_token:
            logprobs = ["", *(f"{logprob:.4f}" for logprob in score.logprobs)]
            rows = [
                [repr(runtime.tokenizer.token_text(token)), str(token), logprob]
                for token, logprob in zip(score.tokens, logprobs, strict=True)
            ]
            click.echo(format_table(["text", "token", "ln p"], rows))
        n = len(score.logprobs)
        click.echo(f"{n} tokens, total ln p {score.total_logprob:.4f}, perplexity {score.perplexity:.4f}")
