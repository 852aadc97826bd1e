"""A run on the bare machine, as numbers: what its lines say."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from axiom.bare.kernel import Status
from axiom.bare.qemu import Ending, Machine, run

PROMPT = "Once upon a time"
# Greedy, and for as long as asked for, so that every run has the same tokens.
OPTIONS = {"prompt": PROMPT, "temperature": "0", "ignore_eos": "1", "telemetry": "tokens"}


@dataclass(frozen=True)
class GuestRun:
    tokens: list[int]
    pass_us: list[int]
    """Of each token; the first is that of the prompt."""
    stream_us: int
    """How long computing waited for weights, in all."""
    bytes_read: int
    """While the text was made."""
    rates: list[int]
    """Of the disk, in MB/s, where that was asked for."""
    n_deferred: int
    deferred_us: int
    """Ticks that waited for the end of a layer, and the longest that one did."""
    receipt: str
    kernels: str
    summary: str
    """What was opened, and how much of it stayed in memory."""

    def token_us(self) -> float:
        """The median of all passes but the prompt's and the first after it."""
        return statistics.median(self.pass_us[2:])


def guest_run(machine: Machine, limit_s: float = 120.0) -> GuestRun:
    ending = run(machine, limit_s=limit_s)
    if ending.status is not Status.DONE:
        raise SystemExit(f"the bare machine ended with {ending.status!r}:\n{ending.text}\n{ending.errors}")
    return parse(ending)


def parse(ending: Ending) -> GuestRun:
    text = ending.text

    def numbers(pattern: str) -> list[int]:
        return [int(found) for found in re.findall(pattern, text)]

    (receipt,) = re.findall(r"axiom: receipt ([0-9a-f]{64})", text)
    (kernels,) = re.findall(r"axiom: kernels (\w+)", text)
    (summary,) = re.findall(r"axiom: (.* layers stay in memory)", text)
    (deferred,) = re.findall(r"ticks in passes, (\d+) of them waited for the end of a layer, (\d+) us at most", text)
    return GuestRun(
        tokens=numbers(r"axiom: token (\d+) at"),
        pass_us=numbers(r"axiom: token .* pass (\d+) us"),
        stream_us=sum(numbers(r"axiom: layer \d+ stream (\d+) rms")),
        bytes_read=numbers(r"(\d+) bytes read in")[0],
        rates=numbers(r"under way: \d+ us, (\d+) MB/s"),
        n_deferred=int(deferred[0]),
        deferred_us=int(deferred[1]),
        receipt=receipt,
        kernels=kernels,
        summary=summary,
    )


def spread(values: Sequence[float]) -> str:
    """Minimum, median and maximum."""
    return f"{min(values):.3f} / {statistics.median(values):.3f} / {max(values):.3f}"
