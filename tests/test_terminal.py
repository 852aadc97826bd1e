"""What a person sees at a terminal: widths, progress, names from outside, and what ends a program that just began."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from axiom.cli.bench import _markdown
from axiom.model_file.model_file import default_model_path

SHELL = [sys.executable, "-m", "axiom"]
PROGRESS = """
from axiom.cli import terminal
terminal._PATIENCE_S = terminal._INTERVAL_S = 0
with terminal.ProgressLine("reading the prompt") as progress:
    progress(1, 2)
"""


def at_terminal(command: list[str], columns: int) -> tuple[int, list[str]]:
    """Run a command at a terminal of so many columns; return its status and what it wrote there, line by line."""
    main_fd, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=clean)
    os.close(terminal)
    written = b""
    while True:
        try:
            read = os.read(main_fd, 65536)
        except OSError:  # the other end is closed
            read = b""
        if not read:
            break
        written += read
    os.close(main_fd)
    return process.wait(), written.decode().replace("\r\n", "\n").split("\n")


def test_help_is_as_wide_as_the_terminal() -> None:
    for columns, widest in ((60, 58), (100, 98), (200, 118)):
        status, lines = at_terminal([*SHELL, "run", "--help"], columns)
        assert status == 0
        assert widest - 12 <= max(map(len, lines)) <= widest


def test_what_does_not_fit_goes_on_under_its_beginning() -> None:
    _, narrow = at_terminal([*SHELL, "doctor"], 60)
    _, wide = at_terminal([*SHELL, "doctor"], 1000)
    indent = wide[0].index("axiom ")
    assert max(len(line) for line in narrow if "/" not in line) <= 60
    assert sum(line.startswith(" " * indent) for line in narrow) > sum(line.startswith(" " * indent) for line in wide)
    assert all(line[indent - 1 : indent] == " " and line[indent] != " " for line in narrow if line)
    # In a pipe each stays a line.
    piped = subprocess.run([*SHELL, "doctor"], capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[0] for line in piped] == [line.split()[0] for line in wide if line]


@pytest.mark.parametrize(
    ("columns", "shown"), [(80, "reading the prompt [##########          ]  50 %"), (20, "  50 %")]
)
def test_progress_stays_on_its_line_and_goes_without_a_trace(columns: int, shown: str) -> None:
    _, lines = at_terminal([sys.executable, "-c", PROGRESS], columns)
    assert len(lines) == 1
    first, line, blanks, last = lines[0].split("\r")
    assert (first, last, blanks.strip()) == ("", "", "")
    assert line.endswith(shown)
    assert len(line) <= len(blanks) < columns


def test_the_table_of_a_bench_is_in_columns() -> None:
    row = {"test": "decode", "depth": 0, "n_tokens": 32, "n_batch": 1, "min": 8.5, "median": 10.25, "max": 999.25}
    rows = [
        {**row, "test": "prefill", "max": 43210.5, "weight_bytes_per_s": None, "of_bandwidth": None},
        {**row, "weight_bytes_per_s": 123.4e9, "of_bandwidth": 1.5},
    ]
    report = {"model": "a\x1b[31m.gguf", "weight_bytes": 1 << 30, "info": {"kernels": "avx2"}, "threads": 2}
    lines = _markdown({**report, "read_bandwidth_bytes_per_s": 2e10, "results": rows}).splitlines()
    assert lines[0].startswith("a\\x1b[31m.gguf, 1.0 GiB")
    table = lines[lines.index("") + 1 :]
    assert len(table) == 4
    bars = [[i for i, c in enumerate(line) if c == "|"] for line in table]
    assert all(places == bars[0] for places in bars)
    assert len(table[0]) <= 80
    assert "|  43210 |" in table[2]
    assert "| 999.25 | 123.4 | 150 % |" in table[3]


def test_names_from_outside_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    name = "a\x1b[31mb\nc.gguf"
    done = subprocess.run([*SHELL, "inspect", name], capture_output=True, text=True)
    assert done.stderr == "axiom: error: a\\x1b[31mb\\nc.gguf: No such file or directory\n"
    content = default_model_path().read_bytes()
    content = content.replace(b"Axiom Storyteller", b"\x1b[2J\x1b[31mModel\n\0.")
    (tmp_path / name).write_bytes(content.replace(b"general.basename", b"\x1b[31mral.basenam"))
    shown = [*SHELL, "inspect", "--metadata", "--tensors", str(tmp_path / name)]
    done = subprocess.run(shown, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert "\n\\x1b[31mral.basenam = " in done.stdout
    assert "a\\x1b[31mb\\nc.gguf\n" in done.stdout
    assert "\\x1b[2J\\x1b[31mModel\\n\\x00.\n" in done.stdout


def fails_to_import(module: str, error: str) -> list[str]:
    """Return the command line of a program in which a module cannot be imported."""
    code = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise {error}
sys.meta_path.insert(0, Finder())
from axiom.cli import main
main()
"""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("module", ["click", "json", "axiom.cli.run", "axiom.runtime"])
def test_ctrl_c_ends_a_program_that_has_just_begun(module: str) -> None:
    done = subprocess.run([*fails_to_import(module, "KeyboardInterrupt"), "run", "Hi"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("module", "args"), [("click", ["run", "Hi"]), ("numpy", ["score", "Hello there"]), ("jinja2", ["chat", "Hi"])]
)
def test_a_package_that_is_missing_is_named(module: str, args: list[str]) -> None:
    missing = fails_to_import(module, f"ModuleNotFoundError(name={module!r})")
    if module == "jinja2":
        args = [*args, "--template", "{{ messages }}"]
    done = subprocess.run([*missing, *args], capture_output=True, text=True)
    said = f"axiom: error: the package {module} is not installed; install it with: pip install {module}\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_part_of_the_package_that_is_missing_is_no_package_to_install() -> None:
    missing = fails_to_import("axiom.runtime", "ModuleNotFoundError(name='axiom.runtime')")
    done = subprocess.run([*missing, "run", "Hi"], capture_output=True, text=True)
    said = "axiom: error: this installation lacks axiom.runtime, which is a part of it; install axiom again\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_doctor_names_a_package_that_is_missing() -> None:
    code = """
import importlib.metadata as metadata
found = metadata.version
def version(name):
    if name == "numpy":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
from axiom.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "numpy missing" in done.stdout
    assert "numpy is not installed; install it with: pip install numpy" in done.stdout
    done = subprocess.run([sys.executable, "-c", code, "doctor", "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout)["versions"]["numpy"] is None
