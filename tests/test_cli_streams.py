"""The command line at the ends of its streams: closed, full, gone, a terminal, in any encoding, and Ctrl-C."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from axiom.cli.terminal import error_line
from tests.commands import MODEL, PLAIN, REFERENCE, RUN, axiom, axiom_bytes, heed_ctrl_c, printed, start_at
from tests.models import CHATML


@pytest.fixture(scope="module")
def model(random_model: Callable[..., Path]) -> str:
    return str(random_model(**MODEL, chat_template=CHATML))


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_is_no_error(closed: int, model: str) -> None:
    command = [*RUN, "run", "-m", model, *REFERENCE, "-n", "2", "-s", "1", "Hello"]
    # The shell closes it before Python begins, which then has None for it.
    shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Hello") or closed == 1


def test_texts_are_utf8_whatever_the_locale_says(model: str) -> None:
    args = ["run", "-m", model, *REFERENCE, "-n", "1", "-s", "1"]
    text = printed(*args, "Bär 🐻").encode()
    done = axiom_bytes(*args, stdin="Bär 🐻".encode(), **PLAIN)
    assert (done.returncode, done.stdout) == (0, text), done
    done = axiom_bytes(*args, stdin=b"caf\xe9", **PLAIN)
    assert done.returncode == 1
    assert done.stderr.startswith(b"axiom: error: standard input: expected a text in UTF-8, got byte 0xe9 at 3; ")
    # A byte-order mark is no part of a text.
    assert axiom_bytes(*args, stdin="\ufeffBär 🐻".encode()).stdout == text


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a locale whose encoding is ISO-8859-1."""
    folder = tmp_path_factory.mktemp("locales")
    try:
        made = folder / "en_US.ISO-8859-1"
        subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", made], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system cannot make a locale")
    return {"LOCPATH": str(folder), "LC_ALL": made.name}


@pytest.mark.parametrize("locale", ["plain", "latin_1"])
def test_texts_are_utf8_and_names_are_bytes_in_any_locale(
    locale: str, model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = PLAIN if locale == "plain" else request.getfixturevalue("latin_1")
    folder = tmp_path / "Höhle"
    folder.mkdir()
    path = folder / "Bär.gguf"
    path.write_bytes(Path(model).read_bytes())
    args = ["run", "-m", str(path), *REFERENCE, "-n", "3", "-s", "1", "--stop", "Ü", "--receipt"]
    text = printed(*args, str(folder / "expected"), "Bär 🐻").encode()
    done = axiom_bytes(*args, str(folder / "Ü.json"), "Bär 🐻", **environment)
    assert (done.returncode, done.stdout) == (0, text), done
    assert sorted(os.listdir(folder)) == ["Bär.gguf", "expected", "Ü.json"]
    assert (folder / "Ü.json").read_bytes() == (folder / "expected").read_bytes()
    done = axiom_bytes("tokenize", "-m", str(folder / "Bör.gguf"), *REFERENCE, "Hi", **environment)
    assert done.stderr.decode() == f"axiom: error: {folder}/Bör.gguf: No such file or directory\n"
    image = folder / "Bär.axiom"
    done = axiom_bytes("pack", str(path), str(image), *REFERENCE, **environment)
    assert done.stderr.decode().startswith(f"wrote {image}, ")
    done = axiom_bytes("verify-image", str(image), **environment)
    assert done.stdout.decode().startswith(f"{image}: whole, ")
    done = axiom_bytes("verify-image", str(path), **environment)
    assert done.stderr.decode().startswith("axiom: error: Bär.gguf, byte 0: magic: ")


def test_what_is_typed_in_another_encoding_is_a_text_too(model: str, latin_1: dict[str, str]) -> None:
    args = ["tokenize", "-m", model, *REFERENCE, "--json"]
    assert axiom_bytes(*args, "café".encode("latin-1"), **latin_1).stdout == printed(*args, "café").encode()


def test_a_full_disk_is_told_of_standard_output(model: str) -> None:
    for text in ("Hello", "Hello " * 9000):
        with open("/dev/full", "wb") as full:
            command = [*RUN, "tokenize", "-m", model, *REFERENCE, text]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (1, "axiom: error: standard output: No space left on device\n")


def test_no_other_error_is_told_of_standard_output() -> None:
    assert error_line(OSError(5, "Input/output error")) == "Input/output error"
    assert error_line(MemoryError()) == "not enough memory"
    for args in (["verify", ""], ["plot", ""]):
        done = axiom(*args)
        assert done.stderr.endswith(": expected the name of a file, got an empty one\n")


def test_a_defect_is_told_in_one_line_and_shown_when_asked() -> None:
    code = "from axiom.cli import doctor, main; doctor._facts = lambda: {}[5]; main()"
    command = [sys.executable, "-c", code, "doctor"]
    done = subprocess.run(command, capture_output=True, text=True)
    said = "axiom: error: KeyError: 5: a defect of the program; AXIOM_TRACEBACK=1 shows where\n"
    assert (done.returncode, done.stderr) == (1, said)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "AXIOM_TRACEBACK": "1"})
    assert (done.returncode, done.stderr.startswith("Traceback"), "KeyError: 5" in done.stderr) == (1, True, True)


def test_text_comes_as_it_is_made(model: str) -> None:
    process = subprocess.Popen(
        [*RUN, "run", "-m", model, *REFERENCE, "-s", "1", "--ignore-eos", "Hello"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(8).startswith(b"Hello")
    assert process.poll() is None
    process.stdout.close()
    # The reader is gone: it ends by itself and says nothing.
    assert process.wait(60) == 1


def test_ctrl_c_ends_within_a_token_with_130(model: str) -> None:
    process = subprocess.Popen(
        [*RUN, "run", "-m", model, *REFERENCE, "-s", "1", "--ignore-eos", "Hello"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heed_ctrl_c,
    )
    assert process.stdout is not None
    process.stdout.read(8)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, stderr = process.communicate(timeout=30)
    assert time.monotonic() - begin < 10
    assert process.returncode == 130
    assert stderr == b""


def test_the_terminal_is_as_it_was_after_ctrl_c(model: str) -> None:
    import termios

    main_fd, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    process = start_at(terminal, "run", "-m", model, *REFERENCE, "-s", "1", "--ignore-eos", "Hello")
    shown = b""
    while len(shown) < 40:
        shown += os.read(main_fd, 1000)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert termios.tcgetattr(terminal) == before
    os.set_blocking(main_fd, False)
    shown += os.read(main_fd, 100_000)
    os.close(main_fd)
    os.close(terminal)
    # The next prompt of the shell stands at the beginning of a line, and no escape sequence is left open.
    assert shown.endswith(b"\r\n")
    assert b"Traceback" not in shown
