"""Reading and computing at the same time, where both take about as long: a token's time with some layers streamed,
against its time with all of them in memory and what the disk alone would need, measured in the same minutes."""

from __future__ import annotations

import statistics

from axiom.bare.qemu import Attachment, Disk, Machine, accelerator
from benches.bare.guest import OPTIONS, guest_run, spread


def main(image: str, pairs: int, n_token: int, memory: int, attachment: Attachment, budget_mib: int) -> None:
    options = {**OPTIONS, "tokens": str(n_token)}
    disks = [Disk(image, attachment)]
    resident = Machine(options, memory_mib=memory, disks=disks)
    limits = {"memory_kib": str(budget_mib << 10), "measure_disk": "1"}
    streaming = Machine({**options, **limits}, memory_mib=memory, disks=disks)
    reading, computing, together, not_waited, hidden = [], [], [], [], []
    for _ in range(pairs):
        alone, guest = guest_run(resident), guest_run(streaming)
        if alone.bytes_read:
            raise SystemExit(f"{alone.summary}: give the machine more memory (--memory-mib)")
        if guest.tokens != alone.tokens:
            raise SystemExit("a model that streams tells something else")
        n_pass = len(guest.pass_us)
        # Bytes per microsecond are MB/s.
        reading.append(guest.bytes_read / n_pass / statistics.mean(guest.rates))
        computing.append(alone.token_us())
        together.append(guest.token_us())
        not_waited.append(1 - guest.stream_us / n_pass / reading[-1])
        hidden.append((reading[-1] + computing[-1] - together[-1]) / reading[-1])
    print(f"{guest.summary}; {accelerator()}, {attachment}, {n_token} tokens, equal; {pairs} runs")
    print(f"{guest.bytes_read / n_pass / 1e6:.0f} MB read for each token; minimum / median / maximum of")
    print(f"  reading alone, ms a token: {spread([us / 1e3 for us in reading])}")
    print(f"  computing alone: {spread([us / 1e3 for us in computing])}")
    print(f"  both together: {spread([us / 1e3 for us in together])}")
    print(f"  share of reading that computing did not wait for: {spread(not_waited)}")
    print(f"  share of reading that took no time beyond computing alone: {spread(hidden)}")
