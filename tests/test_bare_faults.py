"""Whatever goes wrong ends the machine soon, on every core, with its own status and reason; no token is ever wrong."""

from __future__ import annotations

import math
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

import axiom
from axiom.bare import qemu
from axiom.bare.kernel import Status
from axiom.bare.qemu import Attachment, Disk, Ending, Machine, accelerator, command, run
from axiom.image_writer import pack
from tests.backends import why_not_bare
from tests.bare_stories import MODEL, PROMPT, native, story
from tests.nbd_server import Answer, NBDServer

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

ACCELERATORS = ["tcg"] if accelerator() == "tcg" else ["tcg", "kvm"]
LIMIT_S = 60.0
MOST_US = 2_000_000
N_TOKEN = 20
OPTIONS = {"prompt": PROMPT, "tokens": str(N_TOKEN), "temperature": "0", "telemetry": "tokens"}
# For a model of 1 MiB and what goes with it: layers are read again in every pass.
STREAMED = {**OPTIONS, "memory_kib": "2500"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(MODEL, tmp_path_factory.mktemp("image") / "model.axiom")


@cache
def native_tokens() -> list[int]:
    with axiom.Runtime(MODEL) as runtime:
        return list(runtime.generate(PROMPT, max_tokens=N_TOKEN, temperature=0.0).tokens)


def native_story() -> tuple[str, str]:
    return native(PROMPT, N_TOKEN, temperature=0.0, seed=0)


def ended(ending: Ending, status: Status, expected: str) -> None:
    """It has ended with that status and reason, and every token before was right."""
    assert (ending.status, expected in ending.text) == (status, True), ending
    tokens = [int(token) for token in re.findall(r"axiom: token (\d+) at ", ending.text)]
    assert tokens == native_tokens()[: len(tokens)], ending
    assert "axiom: receipt" not in ending.text


def ended_in_mid_run(attempt: Callable[[], Ending], status: Status, expected: str) -> Ending:
    """The same, with the last that was known of the run, which was not long ago."""
    # On a machine with other work, the emulator itself may stand still for a second: of the time, any of three counts.
    for _ in range(3):
        ending = attempt()
        ended(ending, status, expected)
        last = re.search(r"axiom: last: (\d+) tokens; pass (\d+) had (?:done|ended).*? (\d+) us before", ending.text)
        assert last is not None, ending
        assert int(last[1]) == ending.text.count("axiom: token "), ending
        assert int(last[2]) in (int(last[1]), int(last[1]) + 1), ending
        if int(last[3]) < MOST_US:
            return ending
    raise AssertionError(f"not within {MOST_US} us: {ending}")


@pytest.mark.parametrize("kind", ACCELERATORS)
@pytest.mark.parametrize(
    ("test", "status", "expected"),
    [
        ("null", Status.FAULT, "read at 0x0, where nothing is mapped"),
        ("not-canonical", Status.FAULT, "general protection fault (vector 13"),
        ("execute-data", Status.FAULT, "execution at "),
        ("breakpoint", Status.FAULT, "breakpoint (vector 3"),
        ("privileged", Status.FAULT, "general protection fault (vector 13"),
        ("fault-beside", Status.FAULT, "fault on core 1, ring 3: page fault"),
        ("stuck", Status.WATCHDOG, "the core has given no sign of life for"),
        ("no-such-test", Status.COMMAND_LINE, "test=no-such-test: there is no such test"),
    ],
)
def test_faults_are_reported(kind: str, test: str, status: Status, expected: str) -> None:
    ending = run(Machine({"test": test}, accelerator=kind, n_core=2), limit_s=LIMIT_S)
    assert (ending.status, expected in ending.text) == (status, True), ending
    assert ending.seconds < 20, ending
    if status is not Status.COMMAND_LINE:
        assert re.search(r"at 0x[0-9a-f]+ (axiom_boot::trial::|runtime_main)", ending.text), ending


@pytest.mark.parametrize("kind", ACCELERATORS)
@pytest.mark.parametrize(
    ("test", "status", "expected"),
    [
        ("wild", Status.FAULT, "read at 0x4000deadb000, where nothing is mapped"),
        ("nub", Status.FAULT, "read at 0x1000000, which its page does not allow"),
        ("write-code", Status.FAULT, ", which its page does not allow"),
        ("divide", Status.FAULT, "division error (vector 0"),
        ("overflow", Status.FAULT, "where nothing is mapped: the stack has overflowed"),
        ("stuck", Status.WATCHDOG, "watchdog (vector 32"),
        ("allocate", Status.ALLOCATION, "allocation of 100 bytes after initialisation"),
        ("panic", Status.PANIC, "a panic that was asked for"),
    ],
)
def test_faults_in_mid_run(kind: str, test: str, status: Status, expected: str, image: Path) -> None:
    options = {**OPTIONS, "test": test, "at_pass": "4"}
    machine = Machine(options, module=image, accelerator=kind, n_core=2)
    ending = ended_in_mid_run(lambda: run(machine, limit_s=LIMIT_S), status, expected)
    assert "axiom: last: 3 tokens; pass 4 had done 1 of 4 layers" in ending.text
    if status in (Status.FAULT, Status.WATCHDOG):
        assert re.search(r"rip [0-9a-f]{16} rsp [0-9a-f]{16}(.|\n)*r13 [0-9a-f]{16} .* cr2 [0-9a-f]{16}", ending.text)
    frames = re.findall(r"  at 0x[0-9a-f]+ (\S+)\+0x", ending.text)
    if test == "overflow":
        assert all("axiom_boot::trial::descend" in frame for frame in frames), ending
    else:
        # From the mistake to where the runtime began.
        assert "axiom_core::runtime::Engine::forward" in " ".join(frames) or "Boundary" in " ".join(frames), ending
        assert frames[-1] == "runtime_main", ending


def test_a_prompt_of_several_passes_is_counted_as_such(image: Path) -> None:
    # 256 tokens are a pass; the first token comes after the second.
    options = {**OPTIONS, "prompt": "Once upon a time there was a little fox. " * 30, "test": "divide", "at_pass": "2"}
    ending = run(Machine(options, module=image), limit_s=LIMIT_S)
    ended(ending, Status.FAULT, "axiom: last: 0 tokens; pass 2 had done 1 of 4 layers")


def damaged(image: Path, folder: Path, n: int, seed: int) -> list[tuple[int, Path]]:
    """Copies of an image with one byte changed in each, at random places."""
    whole, choose = image.read_bytes(), random.Random(seed)
    copies = []
    for i in range(n):
        at = choose.randrange(len(whole))
        content = bytearray(whole)
        content[at] ^= 1 << choose.randrange(8)
        path = folder / f"{i}.axiom"
        path.write_bytes(content)
        copies.append((at, path))
    return copies


def at_once(machines: list[Machine]) -> list[Ending]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda machine: run(machine, limit_s=LIMIT_S), machines))


def test_a_hundred_damaged_images_are_refused(image: Path, tmp_path: Path) -> None:
    copies = damaged(image, tmp_path, 100, seed=8)
    endings = at_once([Machine(OPTIONS, module=path, memory_mib=128) for _, path in copies])
    for (at, _), ending in zip(copies, endings, strict=True):
        # Bytes between extents are nobody's.
        if ending.status is Status.DONE:
            assert story(ending) == native_story(), f"byte {at}"
            continue
        ended(ending, Status.IMAGE, "")
        assert re.search("digest is another|cut off|are no image|found no image|expected", ending.text), (at, ending)
        assert "axiom: token" not in ending.text, (at, ending)
        assert ending.seconds < 20, (at, ending)
    assert sum(ending.status is Status.IMAGE for ending in endings) > 90


def test_damage_is_found_while_streaming(image: Path, tmp_path: Path) -> None:
    copies = damaged(image, tmp_path, 16, seed=9)
    endings = at_once([Machine(STREAMED, disks=[Disk(path)]) for _, path in copies])
    for (at, _), ending in zip(copies, endings, strict=True):
        if ending.status is Status.DONE:
            assert story(ending) == native_story(), f"byte {at}"
        else:
            ended(ending, Status.IMAGE, "axiom: ")
            assert "axiom: token" not in ending.text, (at, ending)
    assert sum(ending.status is Status.IMAGE for ending in endings) > 12


# The first reads are those of initialisation.
N_GOOD = 40

DISKS: list[Attachment] = ["virtio-mmio", "virtio-pci", "nvme"]


def with_disk(
    image: Path, folder: Path, answer: Callable[[int], Answer], attachment: Attachment, options: dict[str, str]
) -> Ending:
    """A run whose disk does as told from read `N_GOOD` on, which is number 0."""

    def decide(n: int, _: int) -> Answer:
        return answer(n - N_GOOD) if n >= N_GOOD else Answer()

    (folder / "disk").unlink(missing_ok=True)
    with NBDServer(image.read_bytes(), folder / "disk", decide) as server:
        return run(Machine(options, disks=[Disk(server.url, attachment)]), limit_s=LIMIT_S)


@pytest.mark.parametrize("attachment", DISKS)
def test_a_disk_that_fails_ends_the_run(attachment: Attachment, image: Path, tmp_path: Path) -> None:
    attempt = partial(with_disk, image, tmp_path, lambda _: Answer(fails=True), attachment, STREAMED)
    ending = ended_in_mid_run(attempt, Status.DEVICE, "of the model cannot be read at byte")
    assert "the disk failed to read (code " in ending.text


@pytest.mark.parametrize("attachment", DISKS)
def test_a_disk_that_stalls_ends_the_run(attachment: Attachment, image: Path, tmp_path: Path) -> None:
    attempt = partial(with_disk, image, tmp_path, lambda _: Answer(after_s=math.inf), attachment, STREAMED)
    ended_in_mid_run(attempt, Status.DEVICE, "the disk does not answer")


def test_one_read_that_stalls_ends_the_run(image: Path, tmp_path: Path) -> None:
    def answer(n: int) -> Answer:
        return Answer(after_s=math.inf if n == 3 else 0.0)

    attempt = partial(with_disk, image, tmp_path, answer, "nvme", STREAMED)
    ended_in_mid_run(attempt, Status.DEVICE, "the disk does not answer")


def test_a_slow_disk_is_not_stuck(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # After 2.6 MB it gives 120 kB in a second. A layer takes longer than one that only computes may; its four
    # reads of 64 KiB are asked for with those of the next, and the last of them waits for all before it.
    monkeypatch.setattr(qemu, "command", lambda machine: [a.replace("mdts=8", "mdts=4") for a in command(machine)])
    speed = "throttling.bps-read=120000,throttling.bps-read-max=2600000,throttling.bps-read-max-length=1"
    machine = Machine({**STREAMED, "tokens": "4"}, disks=[Disk(image, "nvme", speed)])
    ending = run(machine, limit_s=LIMIT_S)
    assert story(ending) == native(PROMPT, 4, temperature=0.0, seed=0)
    longest_us = max(int(us) for us in re.findall(r"pass (\d+) us", ending.text))
    assert longest_us > 4_000_000, "not slow"


def test_a_machine_that_was_stopped_goes_on(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            started.append(self)

    def answer(n: int) -> Answer:
        # From here on a run has nine reads or so, one less or some more.
        if n not in (1, 5):
            return Answer()
        # The kernel waits for this read; when it goes on, it waits for it still.
        time.sleep(0.1)
        started[-1].send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        started[-1].send_signal(signal.SIGCONT)
        return Answer(after_s=0.3)

    accelerator()  # starts a machine of its own, once
    monkeypatch.setattr(subprocess, "Popen", Started)
    ending = with_disk(image, tmp_path, answer, "virtio-pci", STREAMED)
    assert story(ending) == native_story()
    assert ending.seconds > 5, "not stopped"


@pytest.mark.parametrize("attachment", DISKS)
def test_trouble_that_passes_changes_nothing(attachment: Attachment, image: Path, tmp_path: Path) -> None:
    def answer(n: int) -> Answer:
        return Answer(fails=n in (2, 9), after_s=0.8 if n == 5 else 0.01 * (n % 3))

    # The kernel gives up after 1.4 s, and on a busy machine the emulator may stand still for longer than what is left.
    for _ in range(3):
        ending = with_disk(image, tmp_path, answer, attachment, STREAMED)
        if ending.status is Status.DONE:
            break
    assert story(ending) == native_story()


def test_a_disk_that_changes_its_mind_is_found_out(image: Path, tmp_path: Path) -> None:
    options = {**STREAMED, "paranoid": "1"}
    attempt = partial(with_disk, image, tmp_path, lambda _: Answer(xor=1), "virtio-pci", options)
    ended_in_mid_run(attempt, Status.IMAGE, "its digest is another than when it was packed")


def test_a_disk_that_fails_from_the_beginning_has_failed(image: Path, tmp_path: Path) -> None:
    with NBDServer(image.read_bytes(), tmp_path / "disk", lambda *_: Answer(fails=True)) as disk:
        ending = run(Machine(OPTIONS, disks=[Disk(disk.url)]), limit_s=LIMIT_S)
    ended(ending, Status.DEVICE, "the disk failed to read (code 1)), and found no image")


def test_a_stall_in_initialisation_ends_it(image: Path, tmp_path: Path) -> None:
    with NBDServer(
        image.read_bytes(), tmp_path / "disk", lambda n, _: Answer(after_s=math.inf if n > 2 else 0)
    ) as disk:
        ending = run(Machine(OPTIONS, disks=[Disk(disk.url)]), limit_s=LIMIT_S)
    ended(ending, Status.DEVICE, "the disk does not answer")
