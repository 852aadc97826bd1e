"""Starting the kernel in QEMU: with the processor's own virtualization where that works, by emulation where not."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from axiom.bare.child import ending_with_this_process
from axiom.bare.kernel import BareError, Status, kernel_file
from axiom.files import named_errors
from axiom.hardware import can_read_directly

__all__ = [
    "Attachment",
    "BootDevice",
    "Disk",
    "Ending",
    "Machine",
    "accelerator",
    "accelerator_for_firmware",
    "chosen_accelerator",
    "find_qemu",
    "run",
    "show",
    "status_of",
]

Attachment = Literal["virtio-mmio", "virtio-pci", "nvme"]
"""How the kernel reaches a disk."""
BootDevice = Literal["sata", "usb", "virtio-pci", "nvme"]
"""How firmware reaches the disk that it starts from."""


@dataclass(frozen=True)
class Disk:
    """A file as a disk of the machine."""

    path: Path | str
    """The file; a string is what QEMU takes for one, such as an address of a server."""
    attachment: Attachment = "virtio-pci"
    drive: str = ""
    """More for QEMU's -drive, such as limits of speed."""


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
    image_device: BootDevice = "sata"
    """What the disk image is in."""
    uefi: bool = False
    """Whether that firmware is UEFI."""
    gdb_port: int | None = None
    """Wait, before the first instruction, for GDB at this port of the host itself."""


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

    Raises `BareError` if it is not installed.
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
    return "kvm" if _probe().status is Status.DONE else "tcg"


@functools.cache
def _probe() -> Ending:
    # Some hypervisors inside hypervisors can be opened and then fail at some instruction.
    return run(Machine(options={"test": "none"}, memory_mib=128, accelerator="kvm"), limit_s=10)


@functools.cache
def accelerator_for_firmware() -> str:
    """`kvm` where the processor itself runs all of a guest, else `tcg`.

    Some hypervisors inside hypervisors interpret what runs in ring 0. To the kernel that is a fortieth of a second;
    firmware, all of which runs there, takes a minute, or stops at an instruction that they do not know.
    """
    up = re.search(r"axiom: up after (\d+) us", _probe().text) if accelerator() == "kvm" else None
    return "kvm" if up is not None and int(up[1]) < 3000 else "tcg"


def chosen_accelerator(machine: Machine) -> str:
    """The one that the machine names, or the better one that works for it here."""
    return machine.accelerator or (accelerator_for_firmware() if machine.image else accelerator())


def command_line(options: Mapping[str, str]) -> str:
    """Options as words for the kernel, values with blanks in quotes (`bootkernel/src/bare/boot/command_line.rs`)."""
    words = []
    for name, value in options.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'{name}="{escaped}"' if any(character.isspace() for character in value) else f"{name}={escaped}")
    return " ".join(words)


def command(machine: Machine) -> list[str]:
    """The arguments that start QEMU."""
    kind = chosen_accelerator(machine)
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
        arguments += _boot_device(machine.image, machine.image_device)
        if machine.uefi:
            arguments += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={_firmware()}"]
    else:
        # The kernel takes UTF-8; what is started gets the bytes that the locale makes of a text.
        words = os.fsdecode(command_line(machine.options).encode("utf-8"))
        arguments += ["-kernel", str(kernel_file()), "-append", words]
    if machine.module is not None:
        arguments += ["-initrd", str(machine.module)]
    if machine.gdb_port is not None:
        arguments += ["-S", "-gdb", f"tcp:127.0.0.1:{machine.gdb_port}"]
    for i, disk in enumerate(machine.disks):
        arguments += ["-object", f"iothread,id=io{i}"] if disk.attachment == "virtio-pci" else []
        arguments += _disk(i, disk)
    return arguments


def _boot_device(image: Path, device: BootDevice) -> list[str]:
    # What is written goes nowhere: a SATA disk cannot be read-only.
    drive = ["-drive", f"if=none,id=boot,file={_escaped(image)},format=raw,snapshot=on"]
    return (
        drive
        + {
            "sata": ["-device", "ide-hd,drive=boot,bootindex=0"],
            "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=boot,bootindex=0"],
            "virtio-pci": ["-device", "virtio-blk-pci,drive=boot,bootindex=0,disable-legacy=on"],
            "nvme": ["-device", "nvme,drive=boot,bootindex=0,serial=axiom,mdts=8"],
        }[device]
    )


def _disk(i: int, disk: Disk) -> list[str]:
    is_direct = isinstance(disk.path, Path) and can_read_directly(disk.path)
    how = "cache=none,aio=native" if is_direct else "cache=writeback,aio=threads"
    drive = f"if=none,id=disk{i},file={_escaped(disk.path)},format=raw,readonly=on,{how}"
    drive += f",{disk.drive}" if disk.drive else ""
    device = {
        "virtio-mmio": f"virtio-blk-device,drive=disk{i}",
        "virtio-pci": f"virtio-blk-pci,drive=disk{i},disable-legacy=on,iothread=io{i}",
        "nvme": f"nvme,drive=disk{i},serial=axiom{i},mdts=8",
    }[disk.attachment]
    arguments = ["-drive", drive, "-device", device]
    if disk.attachment == "virtio-mmio":
        arguments += ["-global", "virtio-mmio.force-legacy=false"]
    return arguments


def _escaped(path: Path | str) -> str:
    # What stands before a colon would be a protocol, unless the path is an absolute one.
    name = os.path.abspath(path) if isinstance(path, Path) else path
    return name.replace(",", ",,")


def _firmware() -> Path:
    for name in ("OVMF_CODE_4M.fd", "OVMF_CODE.fd"):
        path = Path("/usr/share/OVMF") / name
        if path.exists():
            return path
    raise BareError("no UEFI firmware for QEMU; on Debian and Ubuntu: apt-get install ovmf")


def run(machine: Machine, *, limit_s: float) -> Ending:
    """Start `machine` and wait until it ends, at most `limit_s` seconds."""
    arguments = ending_with_this_process(command(machine))
    start = time.monotonic()
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            text, errors = process.communicate(timeout=limit_s)
            status = status_of(process.returncode)
        except subprocess.TimeoutExpired:
            process.kill()
            text, errors = process.communicate()
            status = None
        except BaseException:
            process.kill()
            raise
    return Ending(
        status=status,
        text=text.decode(errors="replace"),
        errors=errors.decode(errors="replace"),
        seconds=time.monotonic() - start,
    )


def show(machine: Machine) -> Ending:
    """Start `machine`, pass its serial line on to standard output as it comes, and wait until it ends.

    Raises `BareError` if QEMU does not start it, or gives it up.
    """
    start = time.monotonic()
    arguments = ending_with_this_process(command(machine))
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        errors: list[str] = []
        # QEMU halts a machine that it cannot go on with, and waits for ever for someone to look at it.
        watch = threading.Thread(target=_watch_errors, args=(process, errors), daemon=True)
        watch.start()
        text = bytearray()
        try:
            while piece := os.read(process.stdout.fileno(), 1 << 16):
                text += piece
                with named_errors("standard output"):
                    sys.stdout.buffer.write(piece.replace(b"\r", b""))
                    sys.stdout.buffer.flush()
        except BaseException:
            process.kill()
            raise
        code = process.wait()
        watch.join()
    status = status_of(code)
    if status is None:
        said = " ".join("".join(errors).split()) or "nothing"
        raise BareError(f"QEMU ended with {code}, and not by the kernel's word; it said: {said}")
    return Ending(status, text.decode(errors="replace"), "".join(errors), time.monotonic() - start)


def _watch_errors(process: subprocess.Popen[bytes], errors: list[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        errors.append(line.decode(errors="replace"))
        if b"KVM internal error" in line:
            process.kill()


def status_of(code: int) -> Status | None:
    """Return what the kernel ended with, from what QEMU did: twice that plus 1; an even number is its own."""
    value, is_odd = divmod(code, 2)
    return Status(value) if is_odd and value in Status._value2member_map_ else None
