"""GRUB, as it lies on a disk that boots: for BIOS, for UEFI, and what both are told.

It is the system's own; it is not part of this package.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from axiom.bare.gpt import BYTES_SECTOR
from axiom.bare.kernel import BareError

__all__ = ["FOLDER", "bios_parts", "configuration", "missing", "require", "uefi_program"]

FOLDER = "/boot/grub"
"""Where GRUB looks for its configuration, on the partition of UEFI."""

# Everything that a menu and a kernel need is inside of the two programs; nothing else is read.
MODULES = "part_gpt fat normal configfile multiboot2 serial terminal regexp echo sleep boot reboot halt"

_COMMANDS = {"grub-mkimage": "grub-common", "mformat": "mtools", "mmd": "mtools", "mcopy": "mtools"}
_BIOS = (Path("/usr/lib/grub/i386-pc"), "grub-pc-bin")
_UEFI = (Path("/usr/lib/grub/x86_64-efi"), "grub-efi-amd64-bin")

# Offsets in GRUB's boot.img (`include/grub/i386/pc/boot.h` there): the sector that it reads next, and a jump over a
# test of the drive number that is only right for floppies.
_NEXT_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
# The first sector of core.img loads the rest: an entry at its end says from where, how many sectors, to which segment.
_LIST = struct.Struct("<QHH")
_LIST_OFFSET = BYTES_SECTOR - _LIST.size
_SEGMENT = 0x820


def missing() -> list[str]:
    """The Debian packages that are not there and would be needed."""
    packages = {package: None for command, package in _COMMANDS.items() if shutil.which(command) is None}
    packages.update({package: None for folder, package in (_BIOS, _UEFI) if not folder.is_dir()})
    return list(packages)


def require() -> None:
    """Check that everything is there.

    Raises `BareError` if a package is missing; it says which.
    """
    if packages := missing():
        names = " ".join(packages)
        raise BareError(
            f"a disk image that boots cannot be made without {names} (on Debian and Ubuntu: apt-get install {names})"
        )


def _mkimage(output: Path, kind: str, modules: str, partition: int) -> None:
    # The disk that firmware started from, and on it the partition of UEFI.
    arguments = ["--format", kind, "--output", str(output), "--prefix", f"(,gpt{partition}){FOLDER}"]
    run(["grub-mkimage", *arguments, *modules.split()])


def run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run one of the system's programs.

    Raises `BareError` if it fails; it quotes what the program said last.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if result.returncode != 0:
        said = result.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise BareError(f"{command[0]} failed with {result.returncode}, and said: {said[0]}")


def bios_parts(folder: Path, first: int, partition: int) -> tuple[bytes, bytes]:
    """Return the boot sector's code, and what it loads, which will lie from sector `first` on.

    `folder` is for GRUB's own files, `partition` is the number of the partition with the configuration.
    """
    output = folder / "core.img"
    _mkimage(output, "i386-pc", f"biosdisk {MODULES}", partition)
    core = bytearray(output.read_bytes())
    core += bytes(-len(core) % BYTES_SECTOR)
    _LIST.pack_into(core, _LIST_OFFSET, first + 1, len(core) // BYTES_SECTOR - 1, _SEGMENT)
    sector = bytearray((_BIOS[0] / "boot.img").read_bytes())
    struct.pack_into("<Q", sector, _NEXT_SECTOR, first)
    sector[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    return bytes(sector[:440]), bytes(core)


def uefi_program(folder: Path, partition: int) -> Path:
    """The program for UEFI; the argument as for `bios_parts`."""
    output = folder / "BOOTX64.EFI"
    _mkimage(output, "x86_64-efi", MODULES, partition)
    return output


def _word(name: str, value: str) -> str:
    """An option as a word of GRUB's language; GRUB quotes it anew for the kernel."""
    return "'" + f"{name}={value}".replace("'", "'\\''") + "'"


def configuration(options: Mapping[str, str], module: str | None, *, is_loaded: bool, menu_s: int) -> str:
    """Return what GRUB does: start the kernel with `options`, with the model in memory or without.

    `module` are the sectors of the disk that are loaded as a module, such as "gpt3)0+2048"; None if there is no model.
    `is_loaded` says whether that is what happens when nobody chooses, for which there are `menu_s` seconds.
    """
    kernel = " ".join(["  multiboot2 /boot/axiom", *(_word(name, value) for name, value in options.items())])
    loaded = ['menuentry "Axiom: the model is loaded now, by the firmware" {', kernel]
    loaded += [f'  module2 "($disk,{module}"', "}"] if module else ["}"]
    read = ['menuentry "Axiom: the model is read from its disk, by the kernel (NVMe, virtio)" {', kernel, "}"]
    lines = [
        "# What Axiom starts with: the words after /boot/axiom are the kernel's options (docs/bare.md).",
        "serial --unit=0 --speed=115200",
        "terminal_input serial console",
        "terminal_output serial console",
        "regexp --set=1:disk '^([^,]*)' $root",
        f"set timeout={menu_s}",
        f"set default={0 if is_loaded or module is None else 1}",
        *loaded,
        *(read if module else []),
    ]
    return "\n".join([*lines, ""])
