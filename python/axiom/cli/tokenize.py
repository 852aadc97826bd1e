"""`axiom tokenize`: show the tokens of a text, or the text of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from axiom.cli.options import TEXT, backend_option, json_option, model_option, read_text
from axiom.cli.terminal import echo_json, format_table

if TYPE_CHECKING:
    from axiom.body import Backend

__all__ = ["command"]


@click.command("tokenize")
@click.argument("text", type=TEXT, required=False)
@model_option
@backend_option
@click.option("--decode", is_flag=True, help="TEXT is a list of token numbers; show what they say.")
@click.option(
    "--special/--no-special", default=True, show_default=True, help="Add begin and end tokens as the model asks."
)
@click.option("--parse-special", is_flag=True, help="Read special tokens in the text as such, not as plain text.")
@click.option("--count", is_flag=True, help="Print only how many tokens there are.")
@json_option
def command(
    text: str | None,
    model: str | None,
    backend: Backend,
    decode: bool,
    special: bool,
    parse_special: bool,
    count: bool,
    as_json: bool,
) -> None:
    """Show the tokens of TEXT ("-" is standard input), as the vocabulary spells them.

    It reads the header alone, of vocabulary-only files too.
    """
    from axiom.model_file.model_file import open_model
    from axiom.tokenizer import Tokenizer

    given = read_text(text, "text")
    tokenizer = Tokenizer(open_model(model), backend)
    if decode:
        try:
            tokens = [int(word) for word in given.replace(",", " ").replace("[", " ").replace("]", " ").split()]
        except ValueError:
            raise click.UsageError(
                f"--decode: expected the numbers of tokens, such as 1 2 3, got {given[:80]!r}"
            ) from None
        decoded = tokenizer.decode(tokens)
        if as_json:
            echo_json({"tokens": tokens, "text": decoded})
        else:
            click.echo(decoded)
        return
    tokens = tokenizer.encode(given, add_special=special, parse_special=parse_special)
    if as_json:
        texts = [tokenizer.token_text(token) for token in tokens]
        echo_json({"text": given, "n_tokens": len(tokens), "tokens": tokens, "pieces": texts})
    elif count:
        click.echo(len(tokens))
    else:
        rows = [[str(token), repr(tokenizer.token_text(token)), tokenizer.token_kind(token)] for token in tokens]
        click.echo(format_table(["token", "text", "kind"], rows, numbers_from=3))
