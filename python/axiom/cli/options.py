"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from axiom.cli.terminal import ProgressLine

if TYPE_CHECKING:
    from axiom.request import GenerateOptions
    from axiom.runtime import Runtime

__all__ = [
    "backend_option",
    "generate_options",
    "json_option",
    "model_option",
    "open_runtime",
    "read_text",
    "runtime_options",
    "sampling_options",
]

F = TypeVar("F", bound=Callable[..., Any])

_MODEL_HELP = "GGUF file (the first part, if split) or image. Default: the small model that comes with the package."


def model_option(function: F) -> F:
    """Add --model."""
    option = click.option("-m", "--model", envvar="AXIOM_MODEL", show_envvar=True, metavar="FILE", help=_MODEL_HELP)
    return option(function)


def json_option(function: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def _backend_option(names: list[str], help: str) -> Callable[[F], F]:
    return click.option("--backend", type=click.Choice(names), default="native", show_default=True, help=help)


def backend_option(function: F) -> F:
    """Add --backend, for what needs no engine."""
    return _backend_option(["native", "reference"], "Which body computes; the results are the same.")(function)


_RUNTIME: list[Callable[[Any], Any]] = [
    click.option(
        "--n-ctx", type=int, metavar="N", help="Positions of the context. Default: the model's, or what fits."
    ),
    click.option(
        "--memory", metavar="SIZE", help="Ceiling on this process's memory, such as 2GiB. Default: what there is."
    ),
    click.option("--threads", type=int, metavar="N", help="Threads. Default: what affinity and cgroup quota allow."),
    click.option(
        "--kv", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="Format of the cache."
    ),
    click.option("--paranoid", is_flag=True, help="Check a streamed layer's digest each time that it is read."),
    click.option("--kernels", metavar="NAME", help="Force a kernel table, as AXIOM_KERNELS does; see `axiom doctor`."),
    _backend_option(
        ["native", "reference", "bare"],
        "Which body computes; the results are the same. bare: a kernel of its own, in a virtual machine.",
    ),
]

_SAMPLING = [
    click.option(
        "-n", "--max-tokens", type=int, metavar="N", help="Most tokens to write. Default: until the model ends."
    ),
    click.option("-t", "--temperature", type=float, help="0 is greedy. Default: what the model recommends, or 1."),
    click.option("--top-k", type=int, help="Keep the k most probable tokens; 0 keeps all."),
    click.option("--top-p", type=float, help="Keep the most probable tokens up to this sum; 1 keeps all."),
    click.option("--min-p", type=float, help="Keep tokens of this share of the best one's probability; 0 keeps all."),
    click.option("--typical-p", type=float, help="Keep the most typical tokens up to this sum; 1 keeps all."),
    click.option("--repeat-penalty", type=float, help="Divide the logits of recent tokens; 1 changes nothing."),
    click.option("--presence-penalty", type=float, help="Subtract from the logits of recent tokens."),
    click.option("--frequency-penalty", type=float, help="Subtract from recent tokens' logits, once for each time."),
    click.option("--repeat-last-n", type=int, help="How many tokens are recent: 0 none, -1 all. Default 64."),
    click.option(
        "--logit-bias",
        multiple=True,
        metavar="TOKEN=NUMBER",
        help="Add to a token's logit; -inf excludes it. Repeatable.",
    ),
    click.option("-s", "--seed", type=int, help="Same seed, same text. Default: drawn, and shown by --stats."),
    click.option(
        "--timeout", type=float, metavar="S", help="End after this many seconds, in the middle of a prompt too."
    ),
    click.option("--stop", multiple=True, metavar="TEXT", help="Stop before this text. Repeatable."),
    click.option("--ignore-eos", is_flag=True, help="Go on when the model ends the text."),
]


def runtime_options(function: F) -> F:
    """Add --model and the options of `Runtime`."""
    for option in reversed(_RUNTIME):
        function = option(function)
    return model_option(function)


def sampling_options(function: F) -> F:
    """Add the options of a generation."""
    for option in reversed(_SAMPLING):
        function = option(function)
    return function


def open_runtime(options: dict[str, Any]) -> Runtime:
    """Open a runtime from parsed options, taking them out of `options`, with a progress line while it loads."""
    from axiom.runtime import Runtime

    names = ("n_ctx", "memory", "paranoid", "threads", "kv", "kernels", "backend")
    with ProgressLine("loading") as progress:
        return Runtime(options.pop("model"), **{name: options.pop(name) for name in names}, on_load=progress)


def generate_options(options: dict[str, Any]) -> GenerateOptions:
    """Turn what is left of the parsed options into those of a generation; what was not given is left out."""
    # By identity: 0 is equal to False, and a temperature or seed of 0 has been given.
    given = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    if "logit_bias" in given:
        given["logit_bias"] = dict(_bias(text) for text in given["logit_bias"])
    chosen: GenerateOptions = given  # type: ignore[assignment]  # the names are those of _SAMPLING above
    return chosen


def _bias(text: str) -> tuple[int, float]:
    token, _, number = text.partition("=")
    try:
        return int(token), float(number)
    except ValueError:
        raise click.BadParameter(
            f"expected TOKEN=NUMBER, such as 29=-inf, got {text!r}", param_hint="--logit-bias"
        ) from None


def read_text(text: str | None, what: str) -> str:
    """Return `text`, or standard input where it is "-" or absent while input is piped in."""
    stdin: TextIO = sys.stdin
    if text == "-" or (text is None and not stdin.isatty()):
        return stdin.read()
    if text is None:
        raise click.UsageError(f"give a {what}, or pipe one in")
    return text
