"""The kernel's file, and what it ends with."""

from __future__ import annotations

import enum
from pathlib import Path

from axiom.errors import AxiomError

__all__ = ["BareError", "Status", "kernel_file"]


class BareError(AxiomError):
    """The bare machine cannot be started, or did not do what it was started for."""


class Status(enum.IntEnum):
    """What the machine ends with: `bootkernel/src/exit.rs`, which says more of each."""

    DONE = 0x10
    COMMAND_LINE = 0x11
    MEMORY = 0x12
    IMAGE = 0x13
    DEVICE = 0x14
    MODEL = 0x15
    TEST = 0x16
    MACHINE = 0x17
    NUB = 0x7B
    ALLOCATION = 0x7C
    WATCHDOG = 0x7D
    FAULT = 0x7E
    PANIC = 0x7F


def kernel_file() -> Path:
    """The kernel in this package.

    Raises `BareError` if the package was installed without it.
    """
    path = Path(__file__).with_name("axiom-kernel.elf")
    if not path.exists():
        raise BareError(
            f"{path.name}: this installation has no bare kernel; in a clone of the project, run: make kernel"
        )
    return path
