"""`axiom chat`: one answer, a conversation and its commands, Ctrl-C, and what cannot be done."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from axiom.cli import chat
from axiom.runtime import Runtime
from tests.commands import MODEL, PLAIN, REFERENCE, axiom, axiom_bytes, printed, start_at
from tests.models import CHATML


@pytest.fixture(scope="module")
def model(random_model: Callable[..., Path]) -> str:
    return str(random_model(**MODEL, chat_template=CHATML))


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
        "/show", "/undo", "Hi", "/show", "More", f"/save {path}", "/undo", "/show", "/reset",
        "/system Be brief", "/system", "/frob", f"/load {path}", "/load nothing.json", f"/load {number}", "/save",
        "/help", "", "/quit", "never read",
    ]  # fmt: skip
    done = axiom("chat", "-m", model, *REFERENCE, "-n", "4", "-s", "1", stdin="\n".join(lines) + "\n")
    assert done.returncode == 0
    messages = json.loads(path.read_text())
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert done.stdout.startswith("(nothing yet)\n")
    assert "<|user|>Hi</s><|assistant|>" in done.stdout
    assert "Be brief\n" in done.stdout
    assert "/reset          forget the conversation" in done.stdout
    for message in (
        "there is nothing to take back\n",
        "taken back: More\n",
        "no command /frob",
        "error: nothing.json: No such file",
        "number.json: expected messages as /save writes them",
        "/save needs a file name",
    ):
        assert message in done.stderr
    assert "never read" not in done.stdout


def test_undo_takes_back_a_question_with_what_follows_or_nothing(model: str, tmp_path: Path) -> None:
    answers = [{"role": "assistant", "content": "First"}, {"role": "assistant", "content": "Second"}]
    later = [{"role": "user", "content": "Why?"}, {"role": "system", "content": "S"}, *answers]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    (tmp_path / "later.json").write_text(json.dumps([*answers, *later]))
    saved = [tmp_path / "0.json", tmp_path / "1.json"]
    lines = [f"/load {tmp_path}/answers.json", "/undo", f"/save {saved[0]}"]
    lines += [f"/load {tmp_path}/later.json", "/undo", f"/save {saved[1]}"]
    done = axiom("chat", "-m", model, *REFERENCE, stdin="\n".join(lines) + "\n")
    assert done.stderr == "there is nothing to take back\ntaken back: Why?\n"
    assert [json.loads(path.read_text()) for path in saved] == [answers, answers]


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
    process = start_at(terminal, "chat", "-m", model, *REFERENCE, "-s", "1", "-n", "3")
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
