"""What this process may use of the machine: processors by affinity and cgroup quota, and memory by cgroup limit.

Linux answers from /proc and /sys; elsewhere, what cannot be asked counts as unlimited. Everything here only reads.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from axiom.arguments import integer
from axiom.record import Record

__all__ = [
    "CpuBudget",
    "MemoryBudget",
    "can_read_directly",
    "cpu_budget",
    "memory_budget",
    "parse_memory",
    "resident_bytes",
]

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_CPU_ROOT = Path("/sys/devices/system/cpu")
# A cgroup v1 limit at or above this is its way to say "none".
_V1_UNLIMITED = 1 << 60


class CpuBudget(Record):
    """The processors that this process may use."""

    n_affinity: int
    """Logical processors that it may run on."""
    n_cores: int
    """Physical cores among them; two threads of one core share its arithmetic units."""
    quota: float | None
    """Processors' worth of time that its cgroup grants, or None for no limit."""

    @property
    def n_threads(self) -> int:
        """Threads to use by default: one for each core, and no more than the quota pays for.

        >>> CpuBudget(n_affinity=16, n_cores=8, quota=2.5).n_threads
        2
        """
        if self.quota is None:
            return self.n_cores
        return max(1, min(self.n_cores, int(self.quota)))


class MemoryBudget(Record):
    """The memory that this process may still take."""

    available_bytes: int | None
    """What the system could give without swapping, or None if it does not say."""
    limit_bytes: int | None
    """What its cgroup still grants, or None for no limit."""
    ceiling_bytes: int | None = None
    """What is left below a ceiling that was asked for, or None where none was."""

    @property
    def usable_bytes(self) -> int | None:
        """The smallest of them, or None if none is known."""
        known = [n for n in (self.available_bytes, self.limit_bytes, self.ceiling_bytes) if n is not None]
        return min(known) if known else None


def cpu_budget() -> CpuBudget:
    """Ask affinity, topology and cgroups for the processors that this process may use."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_read(_CPU_ROOT / f"cpu{cpu}" / "topology" / "thread_siblings_list") or f"only {cpu}" for cpu in cpus}
    return CpuBudget(n_affinity=len(cpus), n_cores=max(1, len(cores)), quota=_cpu_quota())


def memory_budget(ceiling: int | None = None) -> MemoryBudget:
    """Ask the system and cgroups for the memory that this process may still take.

    `ceiling` bounds the resident set of the whole process, of which some is taken already.
    """
    left = None if ceiling is None else max(0, ceiling - (resident_bytes() or 0))
    return MemoryBudget(_available_bytes(), _cgroup_memory_left(), left)


def resident_bytes() -> int | None:
    """Return the resident set of this process, or None where the system does not say."""
    words = (_read(Path("/proc/self/statm")) or "").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else None


def can_read_directly(path: Path) -> bool:
    """Try to read the first page of a file past the page cache; False where its file system cannot."""
    if not hasattr(os, "O_DIRECT"):
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    try:
        # A buffer of whole pages, as direct reads need it.
        with mmap.mmap(-1, mmap.PAGESIZE) as page:
            os.preadv(file, [page], 0)
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def parse_memory(text: str | int) -> int:
    """Return a number of bytes from itself or from a text with a unit, of 1024 (KiB, MiB, GiB) or of 1000 (KB, MB, GB).

    >>> parse_memory("2GiB"), parse_memory("1.5 GB"), parse_memory(4096)
    (2147483648, 1500000000, 4096)
    """
    if not isinstance(text, str):
        try:
            n_bytes = integer("memory", text)
        except TypeError:
            raise TypeError(f"memory: expected a number of bytes or a text such as '2GiB', got {text!r}") from None
    else:
        found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGT]i?)?B?\s*", text, re.IGNORECASE)
        if not found:
            raise ValueError(f"memory: expected a number of bytes such as '2GiB' or '1500MB', got {text!r}")
        unit = (found[2] or "").lower()
        power = "kmgt".index(unit[0]) + 1 if unit else 0
        n_bytes = int(float(found[1]) * (1024 if unit.endswith("i") else 1000) ** power)
    if not 0 < n_bytes < 1 << 60:
        raise ValueError(f"memory: expected from 1 byte to 2^60, got {text!r}")
    return n_bytes


def _available_bytes() -> int | None:
    found = re.search(r"^MemAvailable:\s+([0-9]+) kB", _read(Path("/proc/meminfo")) or "", re.MULTILINE)
    if found:
        return int(found[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _cpu_quota() -> float | None:
    quotas = []
    for folder in _cgroup_folders(""):
        words = (_read(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0] != "max":
            quotas.append(int(words[0]) / int(words[1]))
    for folder in _cgroup_folders("cpu"):
        quota, period = (_read_int(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota is not None and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def _cgroup_memory_left() -> int | None:
    """Return the least that any cgroup above this process leaves; page cache counts as free, since it gives way."""
    left = []
    for folder in _cgroup_folders(""):
        limit, used = _read_int(folder / "memory.max"), _read_int(folder / "memory.current")
        if limit is not None and used is not None:
            left.append(limit - used + _stat(folder / "memory.stat", "inactive_file"))
    for folder in _cgroup_folders("memory"):
        limit, used = (_read_int(folder / f"memory.{name}_in_bytes") for name in ("limit", "usage"))
        if limit is not None and used is not None and limit < _V1_UNLIMITED:
            left.append(limit - used + _stat(folder / "memory.stat", "total_inactive_file"))
    return max(0, min(left)) if left else None


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """Yield the cgroup of this process and each one above it: of `controller` in version 1, or of version 2 for ""."""
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(","):
            continue
        root = _CGROUP_ROOT / controller if controller else _CGROUP_ROOT
        folder = root / path.lstrip("/")
        # Inside a container the path may name a place outside of what is mounted; its root is then the own cgroup.
        yield from (above for above in (folder, *folder.parents) if above == root or root in above.parents)


def _stat(path: Path, key: str) -> int:
    found = re.search(rf"^{key} ([0-9]+)$", _read(path) or "", re.MULTILINE)
    return int(found[1]) if found else 0


def _read_int(path: Path) -> int | None:
    try:
        return int(_read(path) or "")
    except ValueError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
