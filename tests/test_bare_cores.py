"""One core has the last word, all others stop; and a core that comes too late takes no part."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axiom.bare.kernel import Status
from axiom.bare.qemu import Machine, accelerator, command, run
from axiom.image_writer import pack
from tests.backends import why_not_bare
from tests.bare_stories import MODEL, PROMPT, native, told

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

ACCELERATORS = ["tcg"] if accelerator() == "tcg" else ["tcg", "kvm"]
LIMIT_S = 60.0
LAST_LINE = "the machine can be switched off"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(MODEL, tmp_path_factory.mktemp("image") / "model.axiom")


class Running:
    """A machine that runs, its serial line, and a channel to QEMU."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        """Of a process that was started."""
        self.process, self.channel, self.text = process, channel, ""

    def read(self, seconds: float) -> bool:
        """Read what the machine writes next; false if it wrote nothing for that long, or has ended."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return False
        piece = os.read(self.process.stdout.fileno(), 1 << 16)
        self.text += piece.decode(errors="replace").replace("\r", "")
        return piece != b""

    def read_until(self, expected: str) -> None:
        """Read until that was written."""
        while expected not in self.text:
            assert self.read(LIMIT_S), self.text

    def processors(self, n: int) -> list[tuple[bool, bool]]:
        """Of each of the processors, whether it halts, and whether interrupts wake it."""
        self.channel.sendall(b"info registers -a\n")
        said = b""
        while said.count(b"HLT=") < n or not said.endswith(b"(qemu) "):
            said += self.channel.recv(1 << 16)
        flags = re.findall(rb"RFL=([0-9a-f]{8}).*HLT=(\d)", said)
        return [(halts == b"1", int(rflags, 16) >> 9 & 1 == 1) for rflags, halts in flags]

    def send(self, packet: str) -> None:
        """Send a packet of GDB's protocol."""
        self.channel.sendall(f"${packet}#{sum(packet.encode()) & 255:02x}".encode())

    def answer(self) -> str:
        """The next packet of GDB's stub."""
        said = ""
        while not (found := re.search(r"\$([^#]*)#..", said)):
            said += self.channel.recv(1 << 16).decode()
        self.channel.sendall(b"+")
        return found[1]


@contextmanager
def running(machine: Machine, what: str) -> Iterator[Running]:
    """A machine that nothing ends from outside, with QEMU's monitor or GDB's stub, which lets it wait at first."""
    arguments = command(machine)
    at = arguments.index("isa-debug-exit,iobase=0xf4,iosize=4")
    arguments = [*arguments[: at - 1], *arguments[at + 1 :]]
    ours, theirs = socket.socketpair()
    arguments += ["-chardev", f"socket,id=channel,fd={theirs.fileno()}"]
    arguments += {"monitor": ["-mon", "channel,mode=readline"], "gdb": ["-gdb", "chardev:channel", "-S"]}[what]
    with (
        ours,
        theirs,
        subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        ) as process,
    ):
        ours.settimeout(LIMIT_S)
        try:
            yield Running(process, ours)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"test": "fault-beside"}, ["fault on core 2", "axiom: status 0x7e"]),
        ({"test": "no-such-test"}, ["there is no such test", "axiom: status 0x11"]),
        # Here the watchdog has been waiting for the end of a layer.
        ({"test": "panic", "at_pass": "3", "telemetry": "none"}, ["a panic that was asked for", "axiom: status 0x7f"]),
        ({"test": "divide", "at_pass": "3", "telemetry": "none"}, ["division error", "axiom: status 0x7e"]),
    ],
)
def test_every_core_stops_for_good(options: dict[str, str], expected: list[str], image: Path) -> None:
    # QEMU is asked what its processors do when the kernel has said its last.
    machine = Machine(options, accelerator="tcg", n_core=3, module=image)
    with running(machine, "monitor") as run:
        run.read_until(LAST_LINE)
        start = time.monotonic()
        # The kernel's last line is a moment before its last instruction.
        while (found := run.processors(3)) != [(True, False)] * 3:
            assert time.monotonic() - start < LIMIT_S, found
        # Longer than the watchdog waits.
        while run.read(4):
            pass
    assert all(text in run.text for text in expected), run.text
    assert run.text.rstrip().endswith(LAST_LINE), run.text


def test_a_machine_check_is_reported(image: Path) -> None:
    options = {"tokens": "500", "ignore_eos": "1", "telemetry": "none"}
    with running(Machine(options, accelerator="tcg", n_core=2, module=image), "monitor") as run:
        run.read_until("axiom: text follows")
        # An error of a bank that was not corrected, on the second core.
        run.channel.sendall(b"mce 1 1 0xbe00000000000000 0x5 0x1234 0\n")
        run.read_until(LAST_LINE)
    assert "axiom: fault on core 1, ring 3: machine check (vector 18" in run.text
    assert "axiom: status 0x7e" in run.text


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_cores_that_fault_together_are_reported_once(kind: str) -> None:
    for _ in range(5):
        ending = run(Machine({"test": "fault-together"}, accelerator=kind, n_core=3), limit_s=LIMIT_S)
        reports = re.findall(r"axiom: fault on core \d", ending.text)
        assert (ending.status, len(reports)) == (Status.FAULT, 1), ending
        assert "read at 0x0, where nothing is mapped" in ending.text, ending


def test_a_core_that_comes_too_late_takes_no_part(image: Path) -> None:
    options = {"prompt": PROMPT, "tokens": "200", "temperature": "0", "ignore_eos": "1", "telemetry": "none"}
    with running(Machine(options, accelerator="tcg", n_core=3, module=image), "gdb") as run:
        # QEMU numbers its processors from 1 on; the third one is held.
        run.send("vCont;c:1;c:2")
        run.read_until("does not answer")
        run.read_until("axiom: text follows")
        run.channel.sendall(b"\x03")
        run.answer()
        run.send("vCont;c")
        run.read_until("axiom: status")
    assert "going on with 2, without it and those after it\naxiom: 2 of 3 cores\n" in run.text
    assert told(run.text) == native(PROMPT, 200, temperature=0.0, seed=0, ignore_eos=True)
