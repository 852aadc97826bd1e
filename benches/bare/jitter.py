"""How even the times of tokens are, bare and native, with nothing else to do and beside busy neighbours."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np

from axiom.bare.qemu import Disk, Machine, accelerator
from benches.bare.compute import memory_mib
from benches.bare.guest import OPTIONS, guest_run
from benches.bare.native import Native


def neighbour() -> None:
    """Reads memory and computes, for ever."""
    values = np.ones(16 << 20, np.float32)
    while True:
        values.sum()


def main(image: str, n_token: int) -> None:
    native = Native(image, n_ctx=n_token + 16)
    options = {**OPTIONS, "tokens": str(n_token), "kernels": native.kernels}
    machine = Machine(options, memory_mib=memory_mib(image), disks=[Disk(image)])
    native.run(100)
    n_neighbour = os.cpu_count() or 1
    print(f"{n_token} tokens each, one core, {accelerator()}, kernels {native.kernels}; times of a pass in us")
    print("| | p50 | p99 | maximum | ticks deferred, longest us |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for load in ("idle", f"{n_neighbour} busy neighbours"):
        busy = [
            multiprocessing.Process(target=neighbour, daemon=True) for _ in range(n_neighbour if load != "idle" else 0)
        ]
        for process in busy:
            process.start()
        guest = guest_run(machine)
        tokens, pass_us = native.run(n_token)
        for process in busy:
            process.terminate()
            process.join()
        if guest.tokens != tokens:
            raise SystemExit("the bodies do not agree")
        for name, times, ticks in (
            ("bare", guest.pass_us, f"{guest.n_deferred}, {guest.deferred_us}"),
            ("native", pass_us, ""),
        ):
            # Without the prompt's pass.
            p50, p99, most = np.percentile(times[1:], [50, 99, 100])
            print(f"| {name}, {load} | {p50:.0f} | {p99:.0f} | {most:.0f} | {ticks} |", flush=True)
