"""The kernel starts on every machine, by every loader, and says what went wrong when something does."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from axiom.bare import disk_image, qemu
from axiom.bare.kernel import BareError, Status
from axiom.bare.qemu import Disk, Ending, Machine, accelerator, command, run
from axiom.hardware import can_read_directly
from tests.backends import why_not_bare
from tests.bare_stories import skip_if_lacking

if reason := why_not_bare():
    pytest.skip(reason, allow_module_level=True)

ACCELERATORS = ["tcg"] if accelerator() == "tcg" else ["tcg", "kvm"]
LIMIT_S = 120.0


def done(machine: Machine) -> Ending:
    ending = run(machine, limit_s=LIMIT_S)
    assert ending.status is Status.DONE, ending
    return ending


# Where ring 0 is interpreted, the firmware of q35 takes seconds: once is enough.
BOARDS = [("tcg", "microvm"), ("tcg", "q35"), ("kvm", "microvm")]


def boards(kinds: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(kind, board) for kind, board in kinds if kind in ACCELERATORS]


@pytest.mark.parametrize(("kind", "board"), boards([*BOARDS, ("kvm", "q35")]))
@pytest.mark.parametrize("n_core", [1, 2])
def test_boots(kind: str, board: str, n_core: int) -> None:
    machine = Machine({"test": "none"}, board=board, accelerator=kind, n_core=n_core)  # type: ignore[arg-type]
    lines = done(machine).lines()
    assert re.match(r"axiom: bare, loaded by PVH, 511 MiB of memory, 4[89]\d MiB free", lines[0])
    assert f"axiom: {n_core} of {n_core} cores" in lines


@pytest.mark.parametrize(("kind", "board"), boards(BOARDS))
@pytest.mark.parametrize("memory_mib", [128, 5120])
def test_little_and_much_memory(kind: str, board: str, memory_mib: int) -> None:
    machine = Machine({"test": "memory"}, board=board, memory_mib=memory_mib, accelerator=kind)  # type: ignore[arg-type]
    lines = done(machine).lines()
    assert f"{memory_mib - 1} MiB of memory" in lines[0]
    kept = next(line.split() for line in lines if line.endswith("keep what is written"))
    start, end = int(kept[6], 16), int(kept[8], 16)
    assert end - start == int(kept[1]) << 20
    # Where memory has a hole below 4 GiB, the longer part is above it.
    if memory_mib == 5120 and board == "q35":
        assert start >= 4 << 30


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_all_cores_take_part(kind: str) -> None:
    lines = done(Machine({"test": "cores"}, n_core=2, accelerator=kind)).lines()
    chunks = [int(line.split()[5]) for line in lines if "chunks" in line]
    assert len(chunks) == 2, lines
    assert sum(chunks) == 6400, lines


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_ticks_come(kind: str) -> None:
    lines = done(Machine({"test": "ticks"}, accelerator=kind)).lines()
    n, us = next((int(line.split()[1]), int(line.split()[4])) for line in lines if "ticks in" in line)
    # Never early; how late depends on who else uses this machine.
    assert (n, us > 300_000) == (20, True), lines


def test_the_first_byte_comes_soon() -> None:
    # The kernel's own clock: firmware and QEMU take longer where others use the machine.
    lines = done(Machine({"test": "none"})).lines()
    up = next(int(line.split()[3]) for line in lines if line.startswith("axiom: up after"))
    assert up < 100_000, lines


@pytest.mark.parametrize(
    "options",
    [
        "kernels=avx1024",
        "cores=0",
        "cores=x",
        "serve=yes",
        "exit=qemu",
        "virtio_mmio.device=512",
        "virtio_mmio.device=512@0xfeb00000",
        "virtio_mmio.device=0@0xfeb00000:5",
        # Where the processor has no addresses, where the kernel is, and where nothing may be.
        "virtio_mmio.device=4K@0x3f0000000000:1",
        "virtio_mmio.device=4K@0x1000000:1",
        "virtio_mmio.device=4K@0x0:1",
    ],
)
def test_wrong_options_are_named(options: str) -> None:
    name, value = options.split("=")
    # The emulated processor has addresses of 40 bits; others have more.
    ending = run(Machine({name: value}, accelerator="tcg"), limit_s=LIMIT_S)
    assert ending.status is Status.COMMAND_LINE, ending
    assert any(line.startswith(f"axiom: {name}=") for line in ending.lines()), ending


def with_arguments(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], *more: str) -> None:
    """Let machines be started with other arguments."""
    monkeypatch.setattr(qemu, "command", lambda machine: [changes.get(a, a) for a in command(machine)] + [*more])


@pytest.mark.parametrize(
    ("memory_mib", "cpu", "status", "expected"),
    [
        (20, "max", Status.MEMORY, "give the machine 32 MiB or more"),
        (128, "max,-nx", Status.MACHINE, "use one made since 2005"),
        (128, "max,-apic,-x2apic", Status.MACHINE, "expected the local APIC where a device can be, got 0x0"),
    ],
)
def test_a_machine_that_lacks_what_the_kernel_needs(
    memory_mib: int, cpu: str, status: Status, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_arguments(monkeypatch, {"max": cpu})
    ending = run(Machine({"test": "none"}, memory_mib=memory_mib, accelerator="tcg"), limit_s=LIMIT_S)
    assert (ending.status, expected in ending.text) == (status, True), ending


def test_the_clock_of_a_machine_without_the_old_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine({"test": "none"}, board="q35", accelerator="tcg")
    board = next(argument for argument in command(machine) if argument.startswith("q35"))
    with_arguments(monkeypatch, {board: f"{board},pit=off"})
    lines = done(machine).lines()
    (clock,) = [line for line in lines if line.startswith("axiom: clock ")]
    assert clock.endswith(" kHz (power-management timer)")
    assert 100_000 < int(clock.split()[2]) < 10_000_000


def test_a_core_that_no_message_reaches_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # One more table of cores, with the number that means all of them.
    table = tmp_path / "cores"
    table.write_bytes(struct.pack("<IIBBBBI", 0xFEE00000, 1, 0, 8, 9, 255, 1))
    with_arguments(monkeypatch, {"max": "max,-x2apic"}, "-acpitable", f"sig=APIC,data={table}")
    lines = done(Machine({"test": "none"}, board="q35", n_core=2, accelerator="tcg")).lines()
    assert "axiom: firmware lists a core with APIC 0xff, which no message reaches; going on without it" in lines
    assert "axiom: 2 of 3 cores" in lines


@pytest.mark.parametrize("kind", ACCELERATORS)
def test_many_cores_leave_memory_for_the_rest(kind: str) -> None:
    lines = done(Machine({"test": "none"}, memory_mib=32, n_core=8, accelerator=kind)).lines()
    assert "axiom: too little memory for the stacks of more than 4 cores; going on with those" in lines
    assert "axiom: 4 of 8 cores" in lines


def test_an_option_that_is_none_is_refused() -> None:
    ending = run(Machine({"test": "none", "token": "5"}), limit_s=LIMIT_S)
    assert ending.status is Status.COMMAND_LINE, ending
    assert any(line.startswith("axiom: token=5: there is no such option") for line in ending.lines()), ending


@pytest.mark.parametrize("table", ["portable", "sse2", "avx2"])
def test_a_table_can_be_forced(table: str) -> None:
    ending = run(Machine({"test": "none", "kernels": table}), limit_s=LIMIT_S)
    skip_if_lacking(table, ending.text)
    assert (ending.status, f"axiom: kernels {table}" in ending.lines()) == (Status.DONE, True), ending


@pytest.fixture(scope="module")
def disk_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(os.urandom(1 << 20) * 24)
    return path


@pytest.mark.parametrize(("kind", "board"), boards(BOARDS))
@pytest.mark.parametrize("attachment", ["virtio-mmio", "virtio-pci", "nvme"])
def test_disks_are_read(kind: str, board: str, attachment: str, disk_file: Path) -> None:
    if (board, attachment) == ("q35", "virtio-mmio"):
        pytest.skip("q35 has no virtio devices outside of PCI")
    disk = Disk(disk_file, attachment)  # type: ignore[arg-type]
    lines = done(Machine({"test": "read"}, board=board, accelerator=kind, disks=[disk])).lines()  # type: ignore[arg-type]
    expected = sum(sum(disk_file.read_bytes()[at : at + 64]) for at in range(0, 24 << 20, 1 << 20))
    reads = [line for line in lines if "reads of 1048576 bytes" in line]
    assert len(reads) == 2, lines
    assert all(f"sum {expected}, 0 resets, 0 retries" in line for line in reads), lines


def test_a_disk_is_read_past_the_page_cache_where_that_can_be(disk_file: Path) -> None:
    how = "cache=none,aio=native" if can_read_directly(disk_file) else "cache=writeback,aio=threads"
    assert how in " ".join(command(Machine(disks=[Disk(disk_file)])))
    for path in ("nbd://127.0.0.1:1", Path("/proc/version")):
        assert "cache=writeback,aio=threads" in " ".join(command(Machine(disks=[Disk(path)])))


def test_a_window_to_pci_where_none_can_be_is_not_used(disk_file: Path, tmp_path: Path) -> None:
    # The content of a table that says where it is, for the buses 0 to 255.
    table = tmp_path / "table"
    table.write_bytes(struct.pack("<8xQHBB4x", 0x3F00_0000_0000, 0, 0, 255))
    machine = Machine({"test": "read"}, board="q35", accelerator="tcg", disks=[Disk(disk_file, "nvme")])
    arguments = [*command(machine), "-acpitable", f"sig=MCFG,data={table}"]
    text = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S).stdout.decode()
    assert "firmware has PCI configuration at 0x3f0000000000, where it cannot be; ports are used instead" in text
    assert text.count("reads of 1048576 bytes") == 2, text


PROMPT = 'a "b" $c \\ d\'s'
PROMPT_LINE = r"axiom: prompt a \"b\" $c \\ d\'s"


def test_options_are_passed_on() -> None:
    assert PROMPT_LINE in done(Machine({"test": "none", "prompt": PROMPT})).lines()


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_boots_by_grub(firmware: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    try:
        disk_image.write(image, {"test": "none", "prompt": PROMPT})
        # Emulated: where ring 0 is interpreted, firmware takes half a minute, or stops at an instruction.
        machine = Machine(board="q35", accelerator="tcg", n_core=2, image=image, uefi=firmware == "UEFI")
        lines = done(machine).lines()
    except BareError as error:
        pytest.skip(str(error))
    assert re.match(r"axiom: bare, loaded by Multiboot2, 5\d\d MiB of memory", lines[0])
    assert "axiom: 2 of 2 cores" in lines
    assert PROMPT_LINE in lines
