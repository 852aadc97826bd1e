"""Images that boot by themselves: GRUB, the kernel and what goes with it, in one file for disc, disk and USB stick.

GRUB is the system's own; it is not part of this package.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from axiom.bare.kernel import BareError, kernel_file

__all__ = ["write_image"]

# What a menu that boots one kernel needs; all modules would make the image four times as large.
MODULES = "multiboot2 serial normal iso9660 part_gpt part_msdos fat search configfile terminal boot"

NEEDED = {
    "grub-mkrescue": "grub-common",
    "xorriso": "xorriso",
    "mformat": "mtools",
}

FIRMWARE = {
    "BIOS": (Path("/usr/lib/grub/i386-pc"), "grub-pc-bin"),
    "UEFI": (Path("/usr/lib/grub/x86_64-efi"), "grub-efi-amd64-bin"),
}


def missing(*, bios: bool = True, uefi: bool = True) -> list[str]:
    """The Debian packages that are not there and would be needed."""
    packages = [package for command, package in NEEDED.items() if shutil.which(command) is None]
    for name, wanted in (("BIOS", bios), ("UEFI", uefi)):
        folder, package = FIRMWARE[name]
        if wanted and not folder.is_dir():
            packages.append(package)
    return packages


def _word(name: str, value: str) -> str:
    """An option as a word of GRUB's language; GRUB quotes it anew for the kernel."""
    return "'" + f"{name}={value}".replace("'", "'\\''") + "'"


def write_image(path: Path, options: Mapping[str, str], *, modules: Mapping[str, Path] | None = None) -> None:
    """Write an image that starts the kernel with options, under BIOS and UEFI.

    Args:
        path: Where to; a file there is replaced.
        options: For the kernel's command line.
        modules: Files that GRUB loads beside the kernel, by their names in the image.

    Raises:
        BareError: If a package is missing, or GRUB fails.
    """
    if packages := missing():
        names = " ".join(packages)
        raise BareError(
            f"a bootable image cannot be made without {names} (on Debian and Ubuntu: apt-get install {names})"
        )
    with tempfile.TemporaryDirectory(dir=path.resolve().parent) as folder:
        boot = Path(folder) / "image" / "boot"
        (boot / "grub").mkdir(parents=True)
        shutil.copyfile(kernel_file(), boot / "axiom")
        words = " ".join(_word(name, value) for name, value in options.items())
        lines = [
            "serial --unit=0 --speed=115200",
            "terminal_output serial console",
            f"multiboot2 /boot/axiom {words}",
        ]
        for name, source in (modules or {}).items():
            # A link where that goes: models are large.
            try:
                (boot / name).hardlink_to(source)
            except OSError:
                shutil.copyfile(source, boot / name)
            lines.append(f"module2 /boot/{name}")
        (boot / "grub" / "grub.cfg").write_text("\n".join([*lines, "boot", ""]))
        made = Path(folder) / "made"
        command = ["grub-mkrescue", "-o", str(made), str(boot.parent), f"--install-modules={MODULES}"]
        command += ["--locales=", "--fonts=", "--themes="]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BareError(f"grub-mkrescue failed: {result.stderr.strip().splitlines()[-1:]}")
        made.replace(path)
