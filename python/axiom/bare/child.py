"""Programs that end when this process does, however it ends.

The kernel (of Linux) sees to it once it was told, between fork and exec; which is done by a program of its own, because
nothing but exec is safe there in a process with threads. What is told is that the *thread* has ended which started the
program: it has to live as long.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["ending_with_this_process"]

_DIE_WITH_PARENT = """
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGKILL = 1, 9
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def ending_with_this_process(arguments: Sequence[str]) -> list[str]:
    """Return what starts the program of `arguments`, its path first, so that it ends with the thread that starts it."""
    if sys.platform != "linux" or not sys.executable:
        return list(arguments)
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *arguments]
