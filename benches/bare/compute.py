"""Decode on the bare machine against the native engine: one core, the model in memory, the same tokens, alternated."""

from __future__ import annotations

import statistics
from pathlib import Path

from axiom.bare.qemu import Disk, Machine, accelerator
from benches.bare.guest import OPTIONS, guest_run, spread
from benches.bare.native import Native


def main(image: str, pairs: int, n_token: int) -> None:
    native = Native(image, n_ctx=n_token + 16)
    machine = Machine(
        {**OPTIONS, "tokens": str(n_token), "kernels": native.kernels},
        memory_mib=memory_mib(image),
        disks=[Disk(image)],
    )
    native.run(n_token)
    ratios, bare_us, native_us = [], [], []
    for i in range(pairs):
        guest = guest_run(machine) if i % 2 == 0 else None
        tokens, pass_us = native.run(n_token)
        guest = guest or guest_run(machine)
        if guest.tokens != tokens:
            raise SystemExit("the bodies do not agree")
        bare_us.append(guest.token_us())
        native_us.append(statistics.median(pass_us[2:]))
        ratios.append(native_us[-1] / bare_us[-1])
    print(f"{guest.summary}; {accelerator()}, kernels {guest.kernels}, {n_token} tokens, {pairs} pairs, tokens equal")
    print(f"tokens/s: bare {1e6 / statistics.median(bare_us):.2f}, native {1e6 / statistics.median(native_us):.2f}")
    print(f"bare / native, minimum / median / maximum: {spread(ratios)}")


def memory_mib(image: str) -> int:
    """Room for a model and what goes with it."""
    return (Path(image).stat().st_size >> 20) + 384
