"""A model that is larger than the machine's memory: tokens against the ceiling that the disk sets, and the disk's rate
in the machine against the host's on the same file."""

from __future__ import annotations

import statistics

from axiom import _native
from axiom.bare.qemu import Attachment, Disk, Machine, accelerator
from benches.bare.guest import OPTIONS, guest_run, spread
from benches.bare.native import Native


def host_rate(image: str) -> float:
    """MB/s at which the native body reads the file as it streams weights."""
    rate, is_direct = _native.disk_bandwidth(image, 1.0)
    if not is_direct:
        raise SystemExit(f"{image}: this file system has no reads past the page cache")
    return rate / 1e6


def main(image: str, pairs: int, n_token: int, memory_mib: int, attachment: Attachment, budget_mib: int | None) -> None:
    options = {**OPTIONS, "tokens": str(n_token), "measure_disk": "1"}
    if budget_mib is not None:
        options["memory_kib"] = str(budget_mib << 10)
    machine = Machine(options, memory_mib=memory_mib, disks=[Disk(image, attachment)])
    expected, _ = Native(image, n_ctx=n_token + 16).run(n_token)
    host, guests, shares, of_ceiling, hidden = [], [], [], [], []
    for _ in range(pairs):
        host.append(host_rate(image))
        guest = guest_run(machine)
        if guest.tokens != expected:
            raise SystemExit("the bodies do not agree")
        guests.append(statistics.mean(guest.rates))
        shares.append(guests[-1] / host[-1])
        # Bytes per microsecond are MB/s.
        of_ceiling.append(guest.bytes_read / sum(guest.pass_us) / guests[-1])
        hidden.append(1 - guest.stream_us / (guest.bytes_read / guests[-1]))
    print(f"{guest.summary}, in {memory_mib} MiB; {accelerator()}, {attachment}, {n_token} tokens, equal; {pairs} runs")
    print(f"{guest.bytes_read / n_token / 1e6:.0f} MB read for each token; {1e6 / guest.token_us():.2f} tokens/s")
    print("minimum / median / maximum of")
    print(f"  host, O_DIRECT, by the native body, MB/s: {spread(host)}")
    print(f"  the same in the machine, MB/s: {spread(guests)}")
    print(f"  machine / host: {spread(shares)}")
    print(f"  bytes read in passes / time of passes / the machine's rate: {spread(of_ceiling)}")
    print(f"  share of reading that computing did not wait for: {spread(hidden)}")
