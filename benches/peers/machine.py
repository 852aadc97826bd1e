"""Facts about the machine, and how busy others kept it during a measurement (Linux)."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    processor: str
    n_cpus: int
    """Processors that this process may use."""
    memory_gb: float
    system: str


def describe() -> Machine:
    processor = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as cpuinfo:
        fields = dict(_pair(line) for line in cpuinfo.read().split("\n\n")[0].splitlines())
    processor = fields.get("model name", processor)
    if {"cpu family", "model"} <= fields.keys():
        # Virtual machines hide the name of the model, and the family tells the generation all the same.
        processor += f" (family {fields['cpu family']}, model {fields['model']})"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(processor, len(os.sched_getaffinity(0)), memory / 1e9, f"{platform.system()} {platform.release()}")


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


# A virtual machine may hand the memory that was read back to its host, two seconds after it was freed. Processors stand
# still for tens of milliseconds then, in the middle of whatever is timed.
SETTLE_S = 3.0


def busy_s() -> float:
    """Processor time that all processes together have used since the machine started, in seconds.

    Time stolen by the hypervisor counts: it is time that the measured engine could not have had.
    """
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def read_bandwidth(n_threads: int) -> float | None:
    """Bytes per second that `n_threads` threads read from memory at most, or None without the native extension."""
    try:
        from axiom import _native
    except ImportError:
        return None
    rate = float(_native.read_bandwidth(n_threads))
    time.sleep(SETTLE_S)
    return rate


@contextlib.contextmanager
def busy_processor() -> Iterator[None]:
    """Something else computes all the time on the last of the processors that this process may use."""
    processor = max(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, {{{processor}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
