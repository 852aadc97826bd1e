"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from axiom.cli.terminal import ProgressLine, checked_text, system_text

if TYPE_CHECKING:
    from axiom.generation.request import GenerateOptions
    from axiom.runtime import Runtime

__all__ = [
    "COUNT",
    "MIN_P",
    "PARANOID",
    "REPEAT_LAST_N",
    "REPEAT_PENALTY",
    "SEED",
    "SIZE",
    "TEMPERATURE",
    "TEXT",
    "TOP_P",
    "backend_option",
    "generate_options",
    "json_option",
    "longer_context",
    "model_argument",
    "model_option",
    "open_runtime",
    "read_text",
    "runtime_options",
    "sampling_options",
    "verify_options",
]

F = TypeVar("F", bound=Callable[..., Any])

# Whole numbers that make no command line right if they are wrong; other ranges are those of the library.
COUNT = click.IntRange(1)
SEED = click.IntRange(0, (1 << 64) - 1)


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A number of bytes, such as 2GiB, as the text that it was given as."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from axiom.hardware import parse_memory

        try:
            parse_memory(value)
        except ValueError as error:
            self.fail(str(error).removeprefix("memory: "), param, ctx)
        return value


class _Text(click.ParamType):  # type: ignore[type-arg]
    """A text in UTF-8, whatever the locale says. The name of a file is none: it is the bytes that it is."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return checked_text(system_text(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = _Size()
TEXT = _Text()

_MODEL_VARIABLE = "AXIOM_MODEL"
_MODEL_HELP = "GGUF file (the first part, if split) or image. Default: the small model that comes with the package."


def model_option(function: F) -> F:
    """Add --model."""
    option = click.option("-m", "--model", envvar=_MODEL_VARIABLE, show_envvar=True, metavar="FILE", help=_MODEL_HELP)
    return option(function)


def model_argument(metavar: str) -> Callable[[F], F]:
    """Add a model as an argument that can be left out, as --model can."""
    return click.argument("model", required=False, envvar=_MODEL_VARIABLE, metavar=metavar)


def json_option(function: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def _backend_option(names: list[str], help: str) -> Callable[[F], F]:
    return click.option("--backend", type=click.Choice(names), default="native", show_default=True, help=help)


def backend_option(function: F) -> F:
    """Add --backend, for what needs no engine."""
    return _backend_option(["native", "reference"], "Which body computes; the results are the same.")(function)


def _kv_option(**default: Any) -> Callable[[Any], Any]:
    return click.option("--kv", type=click.Choice(["f16", "f32"]), **default)


# What a story on the bare machine can be asked for too.
TEMPERATURE = click.option(
    "-t", "--temperature", type=float, metavar="X", help="0 is greedy. Default: what the model recommends, or 1."
)
TOP_P = click.option(
    "--top-p", type=float, metavar="X", help="Keep the most probable tokens up to this sum; 1 keeps all."
)
MIN_P = click.option(
    "--min-p", type=float, metavar="X", help="Keep tokens of this share of the best one's probability; 0 keeps all."
)
REPEAT_PENALTY = click.option(
    "--repeat-penalty", type=float, metavar="X", help="Divide the logits of recent tokens; 1 changes nothing."
)
REPEAT_LAST_N = click.option(
    "--repeat-last-n", type=int, metavar="N", help="How many tokens are recent: 0 none, -1 all. Default: 64."
)
PARANOID = click.option("--paranoid", is_flag=True, help="Check a streamed layer's digest each time that it is read.")

_RUNTIME: list[Callable[[Any], Any]] = [
    click.option(
        "--n-ctx", type=COUNT, metavar="N", help="Positions of the context. Default: the model's, or what fits."
    ),
    click.option(
        "--memory",
        type=SIZE,
        metavar="SIZE",
        help="Ceiling on this process's memory, such as 2GiB. Default: what there is.",
    ),
    click.option("--threads", type=COUNT, metavar="N", help="Threads. Default: what affinity and cgroup quota allow."),
    PARANOID,
    click.option("--kernels", metavar="NAME", help="Force a kernel table, as AXIOM_KERNELS does; see `axiom doctor`."),
    _backend_option(
        ["native", "reference", "bare"],
        "Which body computes; the results are the same. bare: a kernel of its own, in a virtual machine.",
    ),
]

_SAMPLING = [
    click.option(
        "-n", "--max-tokens", type=COUNT, metavar="N", help="Most tokens to write. Default: until the model ends."
    ),
    TEMPERATURE,
    click.option("--top-k", type=click.IntRange(0), metavar="K", help="Keep the k most probable tokens; 0 keeps all."),
    TOP_P,
    MIN_P,
    click.option(
        "--typical-p", type=float, metavar="X", help="Keep the most typical tokens up to this sum; 1 keeps all."
    ),
    REPEAT_PENALTY,
    click.option("--presence-penalty", type=float, metavar="X", help="Subtract from the logits of recent tokens."),
    click.option(
        "--frequency-penalty", type=float, metavar="X", help="Subtract from recent tokens' logits, once for each time."
    ),
    REPEAT_LAST_N,
    click.option(
        "--logit-bias",
        multiple=True,
        metavar="TOKEN=NUMBER",
        help="Add to a token's logit; -inf excludes it. Repeatable.",
    ),
    click.option(
        "-s", "--seed", type=SEED, metavar="N", help="Same seed, same text. Default: drawn, and shown by --stats."
    ),
    click.option(
        "--timeout", type=float, metavar="S", help="End after this many seconds, in the middle of a prompt too."
    ),
    click.option("--stop", type=TEXT, multiple=True, metavar="TEXT", help="Stop before this text. Repeatable."),
    click.option("--ignore-eos", is_flag=True, help="Go on when the model ends the text."),
]


def runtime_options(function: F) -> F:
    """Add --model and the options of `Runtime`."""
    return _with_runtime(function, _kv_option(default="f16", show_default=True, help="Format of the cache."))


def verify_options(function: F) -> F:
    """Add the options of `Runtime` for a run whose cache format is a receipt's."""
    return _with_runtime(function, _kv_option(help="Format of the cache. Default: the receipt's."))


def _with_runtime(function: F, kv: Callable[[Any], Any]) -> F:
    for option in reversed([*_RUNTIME, kv]):
        function = option(function)
    return model_option(function)


def sampling_options(function: F) -> F:
    """Add the options of a generation."""
    for option in reversed(_SAMPLING):
        function = option(function)
    return function


def open_runtime(options: dict[str, Any], **wishes: Any) -> Runtime:
    """Open a runtime from parsed options, taking them out of `options`, with a progress line while it loads.

    `wishes` are arguments of `Runtime` that are no options of every command.
    """
    from axiom.runtime import Runtime

    names = ("n_ctx", "memory", "paranoid", "threads", "kv", "kernels", "backend")
    with ProgressLine("loading") as progress:
        return Runtime(options.pop("model"), **{name: options.pop(name) for name in names}, **wishes, on_load=progress)


def longer_context(runtime: Runtime) -> str:
    """Return what to take for more positions than `runtime` has."""
    n_ctx, most = runtime.n_ctx, runtime.config.n_ctx_max
    return f"a larger --n-ctx, up to {most}" if n_ctx < most else "a model that has more"


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
    if text == "-" or (text is None and not sys.stdin.isatty()):
        return _read_stdin()
    if text is None:
        raise click.UsageError(f"give a {what}, or pipe one in")
    return text


def _read_stdin() -> str:
    # As bytes: a locale says how a terminal writes, and not what is in a file.
    given = sys.stdin.buffer.read() if hasattr(sys.stdin, "buffer") else sys.stdin.read().encode("utf-8")
    try:
        text = given.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {given[error.start]:#04x} at {error.start}"
        raise ValueError(f"standard input: expected a text in UTF-8, got {where}; convert it, with iconv") from None
    return text.replace("\r\n", "\n")
