"""The command line: `axiom run`, `chat`, `inspect`, `tokenize`, `score`, `bench`, `pack`,
`verify-image`, `image`, `boot`, `verify`, `plot`, `doctor`.

One file for each command, imported when it is called, so that the start is quick. Results go to standard output,
everything else to standard error. Exit codes: 0 done, 1 an error (one line, no traceback), 2 a wrong command line,
130 Ctrl-C, 128 and its number another signal that ends it in order. A reader of a pipe that goes away ends it with 1
and no word.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit."""
    status = _run()
    try:
        sys.stdout.flush()
    except OSError:
        # What is left in the buffer has nowhere to go; Python would complain of that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _run() -> int:
    try:
        # Here, so that Ctrl-C while it is imported ends the program as it does later.
        from axiom.cli.group import run

        return run()
    except KeyboardInterrupt:
        # Begin a new line: the shell's prompt would else stand behind half a sentence.
        if sys.stderr is not None and sys.stderr.isatty():
            import contextlib

            with contextlib.suppress(OSError):
                sys.stdout.flush()
                print(file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if os.environ.get("AXIOM_TRACEBACK") or sys.stderr is None:
            raise
        if (error.name or "").partition(".")[0] == "axiom":
            told = f"this installation lacks {error.name}, which is a part of it; install axiom again"
        else:
            told = f"the package {error.name} is not installed; install it with: pip install {error.name}"
        print(f"axiom: error: {told}", file=sys.stderr)
        return 1
