"""Whether other processes still run (Linux)."""

from __future__ import annotations

import threading


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(500):
        if not is_alive(pid):
            return True
        threading.Event().wait(0.02)
    return False
