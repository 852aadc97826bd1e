"""Starting the kernel in QEMU: with the processor's own virtualization where that works, by emulation where not."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axiom.bare.kernel import BareError, Status, kernel_file

__all__ = ["Disk", "Ending", "Machine", "accelerator", "find_qemu", "run"]

Attachment = Literal["virtio-mmio", "virtio-pci", "nvme"]


@dataclass(frozen=True)
class Disk:
    """A file as a disk of the machine."""

    path: Path
    attachment: Attachment = "virtio-pci"


@dataclass(frozen=True)
class Machine:
    """A machine to start."""

    options: Mapping[str, str] = field(default_factory=dict)
    """For the kernel's command line."""
    board: Literal["microvm", "q35"] = "microvm"
    memory_mib: int = 512
    n_core: int = 1
    accelerator: str | None = None
    """`kvm` or `tcg`; None for the better one that works here."""
    module: Path | None = None
    """A file that the loader puts into memory beside the kernel."""
    disks: Sequence[Disk] = field(default_factory=tuple)
    image: Path | None = None
    """A disk image to start from, by the machine's own firmware, instead of the kernel."""
    uefi: bool = False
    """Whether that firmware is UEFI."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    status: Status | None
    """None if the machine did not end by itself."""
    text: str
    """What it wrote on its serial line."""
    errors: str
    """What QEMU wrote."""
    seconds: float

    def lines(self) -> list[str]:
        """The lines of the kernel, without those of firmware and loaders before it."""
        start = self.text.find("axiom: ")
        return self.text[start:].replace("\r", "").splitlines() if start >= 0 else []


def find_qemu() -> str:
    """The path of QEMU for x86-64.

    Raises:
        BareError: If it is not installed.
    """
    path = shutil.which("qemu-system-x86_64")
    if path is None:
        raise BareError(
            "qemu-system-x86_64 is not installed; the bare body runs in it (on Debian and Ubuntu: "
            "apt-get install qemu-system-x86)"
        )
    return path


@functools.cache
def accelerator() -> str:
    """`kvm` if a machine starts with it here and ends as it should, else `tcg`."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    # Some hypervisors inside hypervisors can be opened and then fail at some instruction.
    probe = Machine(options={"test": "none"}, memory_mib=128, accelerator="kvm")
    return "kvm" if run(probe, limit_s=10).status is Status.DONE else "tcg"


def command_line(options: Mapping[str, str]) -> str:
    """Options as words for the kernel, values with blanks in quotes (`bootkernel/src/bare/boot/command_line.rs`)."""
    words = []
    for name, value in options.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'{name}="{escaped}"' if any(character.isspace() for character in value) else f"{name}={escaped}")
    return " ".join(words)


def command(machine: Machine) -> list[str]:
    """The arguments that start QEMU."""
    kind = machine.accelerator or accelerator()
    # A feature that some hypervisors announce and then refuse; it says how the processor leaks, and nothing else.
    cpu = "host,-arch-capabilities" if kind == "kvm" else "max"
    board = machine.board
    if board == "microvm":
        needs_pci = any(disk.attachment != "virtio-mmio" for disk in machine.disks)
        board_options = f"microvm,x-option-roms=off,pcie={'on' if needs_pci else 'off'}"
    else:
        board_options = board
    arguments = [find_qemu(), "-accel", kind, "-cpu", cpu, "-machine", board_options]
    arguments += ["-m", f"{machine.memory_mib}M", "-smp", str(machine.n_core)]
    arguments += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    arguments += ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    if machine.image is not None:
        arguments += ["-drive", f"file={_escaped(machine.image)},format=raw,if=ide,snapshot=on"]
        if machine.uefi:
            arguments += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_firmware()}"]
    else:
        arguments += ["-kernel", str(kernel_file()), "-append", command_line(machine.options)]
    if machine.module is not None:
        arguments += ["-initrd", str(machine.module)]
    for i, disk in enumerate(machine.disks):
        arguments += ["-object", f"iothread,id=io{i}"] if disk.attachment == "virtio-pci" else []
        arguments += _disk(i, disk)
    return arguments


def _disk(i: int, disk: Disk) -> list[str]:
    drive = f"if=none,id=disk{i},file={_escaped(disk.path)},format=raw,readonly=on,cache=none,aio=native"
    device = {
        "virtio-mmio": f"virtio-blk-device,drive=disk{i}",
        "virtio-pci": f"virtio-blk-pci,drive=disk{i},disable-legacy=on,iothread=io{i}",
        "nvme": f"nvme,drive=disk{i},serial=axiom{i},mdts=8",
    }[disk.attachment]
    arguments = ["-drive", drive, "-device", device]
    if disk.attachment == "virtio-mmio":
        arguments += ["-global", "virtio-mmio.force-legacy=false"]
    return arguments


def _escaped(path: Path) -> str:
    return str(path).replace(",", ",,")


def _firmware() -> Path:
    for name in ("OVMF_CODE_4M.fd", "OVMF_CODE.fd"):
        path = Path("/usr/share/OVMF") / name
        if path.exists():
            return path
    raise BareError("no UEFI firmware for QEMU; on Debian and Ubuntu: apt-get install ovmf")


def run(machine: Machine, *, limit_s: float) -> Ending:
    """Start `machine` and wait until it ends, at most `limit_s` seconds."""
    arguments = command(machine)
    start = time.monotonic()
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            text, errors = process.communicate(timeout=limit_s)
            status = _status(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            text, errors = process.communicate()
            status = None
    return Ending(
        status=status,
        text=text.decode(errors="replace"),
        errors=errors.decode(errors="replace"),
        seconds=time.monotonic() - start,
    )


def _status(code: int) -> Status | None:
    """QEMU ends with twice the kernel's status plus 1; an even number is its own."""
    value, is_odd = divmod(code, 2)
    return Status(value) if is_odd and value in Status._value2member_map_ else None
