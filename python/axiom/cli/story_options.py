"""What a story on the bare machine can be asked for, as options of a command and as words for the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from axiom.cli.options import MIN_P, PARANOID, REPEAT_LAST_N, REPEAT_PENALTY, SEED, SIZE, TEMPERATURE, TEXT, TOP_P

__all__ = ["KERNEL_OPTIONS", "kernel_options", "story_options"]

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

KERNEL_OPTIONS = (
    *_WORDS.values(),
    "memory_kib",
    "paranoid",
    "ignore_eos",
    "cores",
    "measure_disk",
    "virtio_mmio.device",
    "test",
    "at_pass",
    "serve",
    "exit",
)
"""Every option of the kernel (docs/bare.md)."""

# The kernel's command line has 4096; quotes, and what stands before the first word, have their share.
_MOST_BYTES = 4000

_OPTIONS = [
    click.option("-p", "--prompt", type=TEXT, help="The text to continue. Default: Once upon a time."),
    click.option(
        "-n",
        "--max-tokens",
        type=click.IntRange(1, (1 << 32) - 1),
        metavar="N",
        help="Most tokens to write. Default: 200.",
    ),
    TEMPERATURE,
    click.option(
        "--top-k",
        type=click.IntRange(0, (1 << 32) - 1),
        metavar="K",
        help="Keep the k most probable tokens; 0 keeps all.",
    ),
    TOP_P,
    MIN_P,
    REPEAT_PENALTY,
    REPEAT_LAST_N,
    click.option("-s", "--seed", type=SEED, metavar="N", help="Same seed, same text. Default: 0."),
    click.option("--kv", type=click.Choice(["f16", "f32"]), help="Format of the cache. Default: f16."),
    click.option(
        "--budget",
        type=SIZE,
        metavar="SIZE",
        help="Most memory for the model, such as 2GiB. Default: what the machine has.",
    ),
    PARANOID,
    click.option("--kernels", metavar="NAME", help="Force a kernel table. Default: the best that the processor has."),
    click.option(
        "--telemetry",
        type=click.Choice(["layers", "tokens", "none"]),
        help="Which times are printed while the text is made. Default: tokens.",
    ),
    click.option(
        "--option",
        "more",
        type=TEXT,
        multiple=True,
        metavar="NAME=VALUE",
        help="Any other option of the kernel. Repeatable.",
    ),
]


def story_options(function: F) -> F:
    """Add the options of a story."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def kernel_options(options: dict[str, Any]) -> dict[str, str]:
    """Return the kernel's options from the parsed ones, which are taken out; what was not given is left out."""
    from axiom.hardware import parse_memory

    _check(options)
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
        if name not in KERNEL_OPTIONS:
            known = ", ".join(KERNEL_OPTIONS)
            raise click.BadParameter(f"expected one of {known}, got {name!r}", param_hint="--option")
        words[name] = value
    n_bytes = sum(len(f"{name}={value}".encode()) for name, value in words.items())
    if n_bytes > _MOST_BYTES:
        raise click.UsageError(
            f"the options have {n_bytes} bytes, and the kernel takes {_MOST_BYTES}: shorten the prompt"
        )
    return words


def _check(options: dict[str, Any]) -> None:
    """Refuse here what the machine would refuse, which is on a stick by then."""
    from axiom.body import host_backend, load_body
    from axiom.generation.sampling import Sampling

    names = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n")
    given = {name: options[name] for name in names if options[name] is not None}
    try:
        load_body(host_backend("bare")).sampler(1, **Sampling(seed=0, **given).as_dict())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
