"""What the commands share for showing things: sizes, tables, a progress line, JSON."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any, TextIO

import click

from axiom.files import named_errors

__all__ = [
    "ProgressLine",
    "checked_text",
    "echo_json",
    "error_line",
    "format_bytes",
    "format_count",
    "format_facts",
    "format_table",
    "prepare_streams",
    "printable",
    "system_text",
]

# Work that is done sooner needs no sign of life.
_PATIENCE_S = 0.5
_INTERVAL_S = 0.1


def format_bytes(n: float) -> str:
    """Write a number of bytes for people.

    >>> format_bytes(512), format_bytes(1536), format_bytes(5 << 30)
    ('512 B', '1.5 KiB', '5.0 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n) < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    raise AssertionError


def format_count(n: float) -> str:
    """Write a large number for people.

    >>> format_count(950), format_count(7_241_732_096)
    ('950', '7.24 B')
    """
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= scale:
            return f"{n / scale:.2f} {unit}"
    return f"{n:.0f}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> str:
    """Lay out a table in columns; those from `numbers_from` on are set flush right.

    >>> print(format_table(["a", "n"], [["x", "10"], ["yy", "9"]]))
    a    n
    x   10
    yy   9
    """
    lines = [[printable(cell) for cell in line] for line in ([header, *rows] if header else rows)]
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i >= numbers_from else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def format_facts(rows: Sequence[Sequence[str]]) -> str:
    """Lay out names and what is said of each. On a terminal, what does not fit goes on under its beginning.

    >>> print(format_facts([("a", "first"), ("bb", "second")]))
    a   first
    bb  second
    """
    indent = max(len(name) for name, _ in rows) + 2
    columns = _columns(sys.stdout)
    lines = []
    for name, text in rows:
        said = [printable(text)]
        if columns is not None:
            # Paths are left whole, so that they can be copied.
            room = max(columns - indent, 20)
            said = textwrap.wrap(said[0], room, break_long_words=False, break_on_hyphens=False) or said
        lines += [f"{left:{indent}}{part}" for left, part in zip([name, *[""] * (len(said) - 1)], said, strict=True)]
    return "\n".join(lines)


def printable(text: str) -> str:
    r"""Return a text from outside, such as the name of a file, as one line that does nothing to a terminal.

    Bytes that are no text stay; standard output and error show them as question marks.

    >>> print(printable("a\x1b[31m\nb"))
    a\x1b[31m\nb
    """
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else repr(c)[1:-1] for c in text)


def _columns(stream: TextIO) -> int | None:
    """Return the width of the terminal that `stream` goes to, and None where there is none or it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def error_line(error: Exception) -> str:
    """Write an error in one line.

    >>> error_line(FileNotFoundError(2, "No such file or directory", "x.gguf"))
    'x.gguf: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        line = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    elif isinstance(error, UnicodeEncodeError):
        line = f"expected a text in UTF-8, got {error.object!r}"[:200]
    elif isinstance(error, MemoryError):
        line = f"not enough memory: {error}".removesuffix(": ")
    else:
        line = " ".join(str(error).split())
    # What is not ASCII in it are names of files.
    return printable(system_text(line))


def prepare_streams() -> None:
    """Make standard input and output fit for texts in UTF-8, whatever the locale says, and open those that are closed.

    A terminal keeps the encoding of its locale, in which it sends and shows. A closed stream is read as empty, and what
    is written to it is lost. A character that cannot be shown is a question mark, and bytes that are no text come as
    `checked_text` knows them. Errors of writing to standard output say its name.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # for as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            # The plain locale "C" is what there is where nobody has chosen one: it says nothing of the terminal.
            is_unset = codecs.lookup(stream.encoding).name == "ascii"
            errors = "surrogateescape" if name == "stdin" else "replace"
            stream.reconfigure(encoding="utf-8" if is_unset or not stream.isatty() else None, errors=errors)
            if name == "stdout":
                # The latter too, which is asked for the width of the terminal.
                sys.stdout = _StandardOutput(stream)
                setattr(sys, "__stdout__", sys.stdout)  # noqa: B010  # types say that nobody does


class _StandardOutput(io.TextIOWrapper):
    """Standard output, whose errors say that name: those of files say theirs.

    It is told here and not in a layer below, where Ctrl-C between a writing and its count would have it written again.
    """

    def __init__(self, stream: io.TextIOWrapper):
        """Take the place of `stream`."""
        how: dict[str, Any] = {
            name: getattr(stream, name) for name in ("encoding", "errors", "line_buffering", "write_through")
        }
        super().__init__(stream.detach(), **how)

    def write(self, text: str, /) -> int:
        with named_errors("standard output"):
            return super().write(text)

    def flush(self) -> None:
        with named_errors("standard output"):
            super().flush()


def system_text(given: str | os.PathLike[str]) -> str:
    """Return what the system gave, an argument or the name of a file, as the text in UTF-8 that it is.

    What is no UTF-8 is in the encoding of the locale, as a terminal sends it.
    """
    try:
        return os.fsencode(given).decode("utf-8")
    except UnicodeError:
        return os.fspath(given)


def checked_text(text: str) -> str:
    """Return a text that came from outside. Raises `ValueError` where it has a byte that was no text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        where = f"byte {ord(text[error.start]) & 255:#04x} after {error.start} characters"
        raise ValueError(f"expected a text in UTF-8, got {where}; convert it, with iconv") from None
    return text


def echo_json(value: Any) -> None:
    """Print a value as JSON; numbers that it has not are the strings "NaN", "Infinity" and "-Infinity"."""
    click.echo(json.dumps(_with_finite_numbers(value), indent=2, ensure_ascii=False, allow_nan=False))


def _with_finite_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_finite_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_finite_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


class ProgressLine:
    """A line on the terminal that says how far long work has come, and is gone afterwards.

    Call it with (n_done, n_total). It shows nothing where standard error is no terminal, and nothing for short work.
    """

    def __init__(self, label: str):
        """Begin to count time."""
        self._label = label
        self._started = time.monotonic()
        self._shown = 0.0
        self._live = sys.stderr.isatty()
        self._width = 0

    def __call__(self, n_done: int, n_total: int) -> None:
        """Show how far it has come."""
        now = time.monotonic()
        if not self._live or now - self._started < _PATIENCE_S or now - self._shown < _INTERVAL_S:
            return
        self._shown = now
        percent = 100 * n_done // max(1, n_total)
        line = f"{self._label} [{'#' * (percent // 5):<20}] {percent:3} %"
        # A line that is as wide as the terminal would begin another one.
        room = (_columns(sys.stderr) or 80) - 1
        if len(line) > room:
            line = f"{self._label} {percent:3} %"[-room:]
        # With room for the ^C of a terminal.
        self._width = min(len(line) + 2, room)
        click.echo(f"\r{line}", nl=False, err=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._shown = 0.0
            # With spaces: not every terminal knows an order for it.
            click.echo(f"\r{'':{self._width}}\r", nl=False, err=True)

    def __enter__(self) -> ProgressLine:
        """Use it as a context manager: leaving the block takes the line away."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self.clear()
