"""What a story on the bare machine can be asked for, as options of a command and as words for the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["kernel_options", "story_options"]

F = TypeVar("F", bound=Callable[..., Any])

# The name of each parameter, and the kernel's (docs/bare.md).
_WORDS = {
    "prompt": "prompt",
    "max_tokens": "tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "seed": "seed",
    "kv": "kv",
    "kernels": "kernels",
    "telemetry": "telemetry",
}

_OPTIONS = [
    click.option("-p", "--prompt", help="The text to continue. Default: Once upon a time."),
    click.option("-n", "--max-tokens", type=click.IntRange(1), metavar="N", help="Most tokens to write. Default: 200."),
    click.option("-t", "--temperature", type=float, help="0 is greedy. Default: what the model recommends, or 1."),
    click.option("--top-k", type=click.IntRange(0), help="Keep the k most probable tokens; 0 keeps all."),
    click.option("--top-p", type=float, help="Keep the most probable tokens up to this sum; 1 keeps all."),
    click.option("--min-p", type=float, help="Keep tokens of this share of the best one's probability; 0 keeps all."),
    click.option("--repeat-penalty", type=float, help="Divide the logits of recent tokens; 1 changes nothing."),
    click.option("--repeat-last-n", type=int, help="How many tokens are recent: 0 none, -1 all. Default: 64."),
    click.option("-s", "--seed", type=click.IntRange(0), help="Same seed, same text. Default: 0."),
    click.option("--kv", type=click.Choice(["f16", "f32"]), help="Format of the cache. Default: f16."),
    click.option(
        "--budget", metavar="SIZE", help="Most memory for the model, such as 2GiB. Default: what the machine has."
    ),
    click.option("--paranoid", is_flag=True, help="Check a streamed layer's digest each time that it is read."),
    click.option("--kernels", metavar="NAME", help="Force a kernel table. Default: the best that the processor has."),
    click.option(
        "--telemetry",
        type=click.Choice(["layers", "tokens", "none"]),
        help="Which times are printed while the text is made. Default: tokens.",
    ),
    click.option(
        "--option", "more", multiple=True, metavar="NAME=VALUE", help="Any other option of the kernel. Repeatable."
    ),
]


def story_options(function: F) -> F:
    """Add the options of a story."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def kernel_options(options: dict[str, Any]) -> dict[str, str]:
    """The kernel's options from the parsed ones, which are taken out; what was not given is left out."""
    from axiom.hardware import parse_memory

    words = {}
    for name, word in _WORDS.items():
        value = options.pop(name)
        if value is not None:
            words[word] = str(value)
    if (budget := options.pop("budget")) is not None:
        words["memory_kib"] = str(parse_memory(budget) >> 10)
    if options.pop("paranoid"):
        words["paranoid"] = "1"
    for text in options.pop("more"):
        name, is_pair, value = text.partition("=")
        if not name or not is_pair:
            raise click.BadParameter(f"expected NAME=VALUE, such as test=read, got {text!r}", param_hint="--option")
        words[name] = value
    return words
