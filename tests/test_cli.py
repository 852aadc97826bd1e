"""The command line, run as users run it: in a process of its own, by its exit code and what it prints."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axiom.cli import _COMMANDS, chat
from axiom.cli.story_options import KERNEL_OPTIONS
from axiom.cli.terminal import error_line
from axiom.runtime import Runtime

MODEL = {
    "n_layer": 1,
    "n_embd": 64,
    "n_ff": 96,
    "n_head": 4,
    "n_head_kv": 2,
    "n_vocab": 300,
    "n_ctx": 2048,
    "fmt": "Q8_0",
}
CHATML = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
RUN = [sys.executable, "-c", "import sys; sys.argv[0] = 'axiom'; from axiom.cli import main; main()"]
REFERENCE = ["--backend", "reference"]


@pytest.fixture(scope="module")
def model(random_model: Callable[..., Path]) -> str:
    return str(random_model(**MODEL, chat_template=CHATML))


def axiom(*args: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AXIOM_")}
    return subprocess.run(
        [*RUN, *args], input=stdin, capture_output=True, text=True, timeout=120, env={**clean, **env}, check=False
    )


def axiom_bytes(*args: str | bytes, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*RUN, *args], input=stdin, capture_output=True, timeout=120, env={**os.environ, **env})


def printed(*args: str, **kwargs: Any) -> str:
    done = axiom(*args, **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Help and errors


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_has_help(name: str) -> None:
    text = printed(name, "--help")
    assert text.startswith(f"Usage: axiom {name}")


def test_help_lists_all_commands_and_version_is_shown() -> None:
    text = printed("--help")
    for name in _COMMANDS:
        assert f"\n  {name} " in text


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["run", "--frobnicate"],
        ["run", "--temperature", "x", "Hi"],
        ["bench", "--depths", "x"],
        ["verify"],
        ["run", "--max-tokens", "0", "Hi"],
        ["run", "--threads", "0", "Hi"],
        ["run", "--n-ctx", "0", "Hi"],
        ["run", "--seed", str(1 << 64), "Hi"],
        ["run", "--memory", "much", "Hi"],
        ["inspect", "--memory", "0"],
        ["inspect", "--n-ctx", "100"],
        ["tokenize", b"caf\xe9"],
    ],
)
def test_a_wrong_command_line_ends_with_2(args: list[Any]) -> None:
    done = axiom(*args)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_one_line_and_end_with_1(model: str, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(Path(model).read_bytes()[:1000])
    for args, message in (
        (["run", "-m", str(tmp_path / "nothing.gguf"), "Hi"], "nothing.gguf: No such file or directory"),
        (["run", "-m", str(damaged), "Hi"], "damaged.gguf, byte "),
        (["run", "-m", model, *REFERENCE, "-t", "-1", "Hi"], "temperature must be"),
        (["run", "-m", model, *REFERENCE, "--n-ctx", "999999", "Hi"], "n_ctx=999999, but the model has 2048 positions"),
        (
            ["run", "-m", model, *REFERENCE, "--n-ctx", "8", "Hello there, hello there"],
            "but the context has 8 positions",
        ),
        (["verify", model], "receipt"),
        (
            ["chat", "-m", model, *REFERENCE, "--template", "{{ raise_exception('no') }}", "Hi"],
            "refuses these messages: no",
        ),
        (["bench", "-m", model, *REFERENCE, "--prefill", "4096"], "needs 4096 positions, the context has 2048"),
        (
            ["run", "-m", model, *REFERENCE, "-n", "1", "--receipt", str(tmp_path / "no" / "r.json"), "Hi"],
            "no such directory",
        ),
    ):
        done = axiom(*args)
        assert done.returncode == 1, args
        assert message in done.stderr
        assert done.stderr.startswith("axiom: error: ")
        assert done.stderr.count("\n") == 1


# What standard input and output are


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


PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


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


# run


def test_run_prints_the_prompt_and_the_text(model: str) -> None:
    args = ["run", "-m", model, *REFERENCE, "-n", "12", "-s", "1"]
    text = json.loads(printed(*args, "Hello", "--json"))["text"]
    assert printed(*args, "Hello") == f"Hello{text}\n"
    assert printed(*args, "Hello", "--no-echo") == f"{text}\n"
    assert printed(*args, "-", stdin="Hello") == f"Hello{text}\n"
    assert printed(*args, stdin="Hello") == f"Hello{text}\n"
    assert printed(*args[:1], *args[3:], "Hello", AXIOM_MODEL=model) == f"Hello{text}\n"


def test_run_takes_every_option(model: str, tmp_path: Path) -> None:
    done = axiom(
        "run", "-m", model, *REFERENCE, "--n-ctx", "64", "--threads", "1", "--kv", "f32", "-n", "5", "-t", "0.5",
        "--top-k", "9", "--top-p", "0.9", "--min-p", "0.01", "--typical-p", "0.9", "--repeat-penalty", "1.1",
        "--presence-penalty", "0.1", "--frequency-penalty", "0.1", "--repeat-last-n", "9", "--logit-bias", "5=-inf",
        "--logit-bias", "6=1.5", "-s", "3", "--stop", "zzzz", "--stop", "yyyy", "--ignore-eos", "--stats",
        "--receipt", str(tmp_path / "r.json"), "Hello",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "5 tokens at" in done.stderr
    assert "ended by length, seed 3" in done.stderr
    receipt = json.loads((tmp_path / "r.json").read_text())
    assert receipt["contract"].endswith("kv=f32")
    assert receipt["sampling"] == {
        "temperature": 0.5, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "repeat_penalty": 1.1,
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "repeat_last_n": 9, "logit_bias": {"5": "-inf", "6": 1.5},
        "seed": 3,
    }  # fmt: skip


def test_the_default_model_tells_the_same_story_on_both_bodies(tmp_path: Path) -> None:
    args = ["run", "Once upon a time", "-n", "24", "-s", "3"]
    path = str(tmp_path / "r.json")
    story = printed(*args, "--receipt", path)
    assert story.startswith("Once upon a time")
    assert printed(*args, *REFERENCE) == story
    assert printed("verify", path, *REFERENCE).startswith("equal: ")
    assert printed("verify", path, "--kernels", "portable", "--threads", "1").startswith("equal: ")


def test_zero_is_a_setting_and_not_an_absent_one(model: str) -> None:
    args = ["run", "-m", model, *REFERENCE, "-n", "8", "Hello", "--json"]
    greedy = [json.loads(printed(*args, "-t", "0", "-s", seed))["tokens"] for seed in ("0", "1")]
    assert greedy[0] == greedy[1]
    assert json.loads(printed(*args, "-s", "0"))["seed"] == 0


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


def heed_ctrl_c() -> None:
    """A shell starts what it sends to the background with Ctrl-C ignored; a terminal's programs have it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    process = subprocess.Popen(
        [*RUN, "run", "-m", model, *REFERENCE, "-s", "1", "--ignore-eos", "Hello"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=heed_ctrl_c,
    )
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


# The commands that read


def test_inspect(model: str) -> None:
    facts = json.loads(printed("inspect", model, "--json", "--metadata", "--tensors", "--digest"))
    assert facts["architecture"] == "llama"
    assert facts["runs"] is True
    assert facts["config"]["n_layer"] == 1
    assert facts["kv_bytes_per_position"] == {"f16": 128, "f32": 256}
    assert [context["n_ctx"] for context in facts["contexts"]] == [2048]
    assert all(context["f16"]["fits"] for context in facts["contexts"])
    assert facts["chat_templates"] == ["default"]
    assert facts["metadata"]["general.architecture"] == "llama"
    assert len(facts["tensors"]) == facts["n_tensors"]
    assert len(facts["sha256"]) == 64
    assert facts["n_bytes"] == Path(model).stat().st_size
    text = printed("inspect", model, "--metadata", "--tensors")
    for part in (
        "architecture    llama",
        "runs here       yes",
        "Q8_0",
        "blk.0.attn_q.weight",
        "general.architecture = ",
    ):
        assert part in text
    assert printed("inspect", model, "--template") == CHATML + "\n"


def test_inspect_shows_what_does_not_run(random_model: Callable[..., Path]) -> None:
    path = str(random_model(**MODEL, metadata={"llama.expert_count": 8}))
    assert "no: model" in printed("inspect", path)
    facts = json.loads(printed("inspect", path, "--json"))
    assert facts["runs"] is False
    assert "expert_count" in facts["why_not"]


def test_tokenize(model: str) -> None:
    got = json.loads(printed("tokenize", "-m", model, *REFERENCE, "--json", "Hello é"))
    assert got["n_tokens"] == len(got["tokens"]) == len(got["pieces"])
    assert got["pieces"][0] == "<s>"
    numbers = " ".join(map(str, got["tokens"]))
    assert printed("tokenize", "-m", model, *REFERENCE, "--decode", numbers) == "Hello é\n"
    assert (
        printed("tokenize", "-m", model, *REFERENCE, "--count", "--no-special", "Hello é") == f"{got['n_tokens'] - 1}\n"
    )
    table = printed("tokenize", "-m", model, *REFERENCE, "Hello é").splitlines()
    assert table[0].split() == ["token", "text", "kind"]
    assert len(table) == got["n_tokens"] + 1
    assert axiom("tokenize", "-m", model, *REFERENCE, "--decode", "x").returncode == 2


def test_score(model: str) -> None:
    got = json.loads(printed("score", "-m", model, *REFERENCE, "--json", "Hello there"))
    assert len(got["logprobs"]) == len(got["tokens"]) - 1
    text = printed("score", "-m", model, *REFERENCE, "--tokens", "Hello there")
    assert text.splitlines()[-1].endswith(f"perplexity {got['perplexity']:.4f}")


def test_verify(model: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    printed("run", "-m", model, *REFERENCE, "-n", "6", "--kv", "f32", "--receipt", str(path), "Hello")
    assert printed("verify", str(path), "-m", model, *REFERENCE).startswith("equal: 6 tokens")
    assert json.loads(printed("verify", str(path), "-m", model, *REFERENCE, "--json"))["equal"] is True
    fields = json.loads(path.read_text())
    fields["output"][2] = (fields["output"][2] + 1) % 300
    path.write_text(json.dumps(fields))
    done = axiom("verify", str(path), "-m", model, *REFERENCE)
    assert done.returncode == 1
    assert done.stdout.startswith("different: output token 2: the receipt has")


def test_bench(model: str) -> None:
    args = ["bench", "-m", model, *REFERENCE, "--prefill", "8", "--decode", "2", "--depths", "0,16", "--repeat", "2"]
    report = json.loads(printed(*args, "--json"))
    assert [(row["test"], row["depth"]) for row in report["results"]] == [
        ("prefill", 0),
        ("prefill", 16),
        ("decode", 0),
        ("decode", 16),
    ]
    assert all(0 < row["min"] <= row["median"] <= row["max"] for row in report["results"])
    rows = list(csv.DictReader(io.StringIO(printed(*args, "--format", "csv"))))
    assert [row["test"] for row in rows] == ["prefill", "prefill", "decode", "decode"]
    # More than a runtime has room for unless it is asked to.
    table = printed(*args, "--batch", "17").splitlines()
    assert sum(line.startswith("| decode | ") and " | 17 | " in line for line in table) == 2
    done = axiom(*args, "--batch", "1000000000")
    assert (done.returncode, done.stderr.startswith("axiom: error: --batch 1000000000: weights of ")) == (1, True)


def test_doctor_says_what_is_forced_and_what_cannot_be() -> None:
    assert "kernels portable: chosen, as AXIOM_KERNELS says" in printed("doctor", AXIOM_KERNELS="portable")
    done = axiom("doctor", AXIOM_KERNELS="abacus")
    assert done.returncode == 1
    assert "AXIOM_KERNELS: " in done.stdout
    assert "abacus" in done.stdout


def test_doctor_names_nothing_that_is_not_so() -> None:
    done = axiom("doctor", AXIOM_KERNELS="abacus", AXIOM_MODEL="/nowhere/model.gguf")
    assert done.returncode == 1
    assert "as AXIOM_KERNELS says" not in done.stdout
    assert "AXIOM_MODEL: /nowhere/model.gguf: No such file or directory" in done.stdout
    assert "streamed weights" not in done.stdout


def test_inspect_says_what_kind_of_file_it_is(model: str, tmp_path: Path) -> None:
    image = tmp_path / "model.axiom"
    printed("pack", model, str(image), *REFERENCE)
    assert ", image version 1\n" in printed("inspect", str(image))
    assert ", GGUF version 3\n" in printed("inspect", model)


def test_doctor() -> None:
    facts = json.loads(axiom("doctor", "--json").stdout)
    assert facts["cpu"]["n_threads"] >= 1
    assert set(facts["versions"]) == {"axiom", "python", "numpy", "jinja2", "click"}
    text = axiom("doctor").stdout
    for part in ("versions", "processor", "threads", "memory", "default model", "problems"):
        assert f"\n{part} " in f"\n{text}"


# chat


def test_chat_answers_one_message(model: str) -> None:
    args = ["chat", "-m", model, *REFERENCE, "-n", "6", "-s", "1"]
    first = printed(*args, "Hi")
    assert printed(*args, "Hi") == first
    shown = axiom(*args, "--system", "S", "--show-prompt", "Hi")
    assert "<|system|>S</s><|user|>Hi</s>" in shown.stderr


def test_chat_holds_a_conversation(model: str, tmp_path: Path) -> None:
    path, number = tmp_path / "chat.json", tmp_path / "number.json"
    number.write_text("5")
    lines = [
        "Hi", "/show", "More", f"/save {path}", "/undo", "/show", "/reset", "/system Be brief", "/system", "/frob",
        f"/load {path}", "/load nothing.json", f"/load {number}", "/save", "/help", "", "/quit", "never read",
    ]  # fmt: skip
    done = axiom("chat", "-m", model, *REFERENCE, "-n", "4", "-s", "1", stdin="\n".join(lines) + "\n")
    assert done.returncode == 0
    messages = json.loads(path.read_text())
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert "<|user|>Hi</s><|assistant|>" in done.stdout
    assert "Be brief\n" in done.stdout
    assert "/reset          forget the conversation" in done.stdout
    for message in (
        "no command /frob",
        "error: nothing.json: No such file",
        "number.json: expected messages as /save writes them",
        "/save needs a file name",
    ):
        assert message in done.stderr
    assert "never read" not in done.stdout


class Interrupted(io.StringIO):
    """A terminal from which Ctrl-C comes while the third piece of an answer is shown."""

    n_written = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.n_written += 1
        if self.n_written == 3:
            raise KeyboardInterrupt
        return super().write(text)


def test_ctrl_c_while_a_piece_is_shown_ends_the_answer_and_no_more(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"seed": 1, "max_tokens": 8, "ignore_eos": True}
    with Runtime(model, backend="reference") as runtime, runtime.session() as session:
        talk = chat._Chat(runtime, session, None, None, False, False, options)
        shown = Interrupted()
        monkeypatch.setattr(sys, "stdin", shown)
        monkeypatch.setattr(sys, "stdout", shown)
        talk.answer("Hi")
        assert [message["role"] for message in talk.messages] == ["user", "assistant"]
        assert talk.messages[1]["content"].startswith(shown.getvalue().rstrip("\n"))
        talk.answer("More")
        assert [message["role"] for message in talk.messages] == ["user", "assistant"] * 2


def test_ctrl_c_at_the_prompt_does_not_end_a_chat(model: str) -> None:
    main_fd, terminal = pty.openpty()
    process = subprocess.Popen(
        [*RUN, "chat", "-m", model, *REFERENCE, "-s", "1", "-n", "3"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        preexec_fn=heed_ctrl_c,
    )
    shown = b""
    while b"> " not in shown:
        shown += os.read(main_fd, 1000)
    assert shown.count(b"Ctrl-D leaves.") == 1
    while shown.count(b"Ctrl-D leaves.") == 1:
        # Again and again: what comes just before readline waits for a key is heeded at the next key.
        process.send_signal(signal.SIGINT)
        if select.select([main_fd], [], [], 0.1)[0]:
            shown += os.read(main_fd, 1000)
    os.write(main_fd, b"/system\n/quit\n")
    assert process.wait(30) == 0
    shown += os.read(main_fd, 1000)
    assert b"(none)" in shown
    assert b"Traceback" not in shown
    os.close(main_fd)
    os.close(terminal)


def test_a_chat_goes_on_after_what_cannot_be_done(model: str, tmp_path: Path) -> None:
    deep, content = tmp_path / "deep.json", Path(model).read_bytes()
    deep.write_text("[" * 200_000)
    path = tmp_path / "Gespräch.json"
    lines = [b"caf\xe9", f"/load {deep}", f"/save {model}", "Hi", "Hi " * 40, f"/save {path}"]
    stdin = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    args = ["chat", "-m", model, *REFERENCE, "-n", "4", "-s", "1", "--n-ctx", "64"]
    done = axiom_bytes(*args, stdin=stdin, **PLAIN)
    said = done.stderr.decode().splitlines()
    assert (done.returncode, len(said)) == (0, 4), done
    assert said[0] == "error: expected a text in UTF-8, got byte 0xe9 after 3 characters; convert it, with iconv"
    assert said[1].startswith(f"error: {deep}: expected messages as /save writes them: maximum recursion depth")
    assert said[2].startswith(f"error: {model}: expected another file than model-")
    assert re.fullmatch(
        r"error: the conversation needs \d+ positions with an answer, and the context has 64; take back questions with "
        r"/undo, forget all with /reset, or start with a larger --n-ctx, up to 2048",
        said[3],
    )
    assert json.loads(path.read_text("utf-8"))[0] == {"role": "user", "content": "Hi"}
    assert Path(model).read_bytes() == content


def test_chat_says_that_an_answer_is_cut_off(model: str) -> None:
    done = axiom("chat", "-m", model, *REFERENCE, "-s", "1", "--ignore-eos", "--n-ctx", "32", "Hi")
    assert done.stderr == (
        "the answer is cut off: the context has 32; shorten the message, or start with a larger --n-ctx, up to 2048\n"
    )


def test_chat_without_a_template_says_so_at_once(random_model: Callable[..., Path]) -> None:
    done = axiom("chat", "-m", str(random_model(**MODEL)), *REFERENCE, stdin="Hi\n")
    assert done.returncode == 1
    assert "has no chat template; give template=" in done.stderr


# Start


def test_import_is_quick() -> None:
    # Of several, the best: the machine may be busy, but the code has nothing to do with that.
    code = "import time; t = time.perf_counter(); import axiom; print(time.perf_counter() - t)"
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(seconds) < 0.15


def test_import_and_help_load_no_numpy() -> None:
    code = "import sys, axiom, axiom.cli; print('numpy' in sys.modules, 'jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_the_options_of_the_kernel_are_known_everywhere() -> None:
    """In the program, in the kernel itself and in its documentation."""
    root = Path(__file__).parent.parent
    kernel = (root / "bootkernel/src/wish.rs").read_text().split("const NAMES", 1)[1].split("];", 1)[0]
    table = (root / "docs/bare.md").read_text().split("| option |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert sorted(re.findall(r'"([^"]+)"', kernel)) == sorted(KERNEL_OPTIONS)
    assert sorted(name for row in rows for name in re.findall(r"`([^`]+)`", row)) == sorted(KERNEL_OPTIONS)
