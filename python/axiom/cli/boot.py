"""`axiom boot`: a disk image, or a model by itself, on a machine without an operating system, in QEMU."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axiom.cli.options import SIZE, model_argument
from axiom.cli.story_options import kernel_options, story_options
from axiom.cli.terminal import ProgressLine

if TYPE_CHECKING:
    from axiom.bare.qemu import Machine

__all__ = ["command"]

_MIB = 1 << 20
# A model up to this size is put into memory by the loader; a larger one is a disk.
_LARGEST_MODULE = 64 * _MIB
# Below this the kernel, which is loaded at 16 MiB, is not in memory as a whole.
_LEAST_MEMORY = 32 * _MIB
# What the machine gets besides room for a model.
_BYTES_BESIDES = 512 * _MIB


@click.command("boot")
@model_argument("[DISK.img|MODEL]")
@click.option(
    "--memory", type=SIZE, metavar="SIZE", help="The machine's memory, such as 256MiB. Default: room for the model."
)
@click.option("--cores", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Its cores.")
@click.option(
    "--accelerator",
    type=click.Choice(["kvm", "tcg"]),
    help="Virtualization or emulation. Default: virtualization, where it works.",
)
@click.option(
    "--board",
    type=click.Choice(["microvm", "q35"]),
    help="Which of QEMU's machines. Default: microvm; q35, and no other, where firmware starts a disk image.",
)
@click.option(
    "--attach",
    type=click.Choice(["module", "virtio-mmio", "virtio-pci", "nvme", "sata", "usb"]),
    help="How the machine has it. A model: a module in its memory (up to 64 MiB the default), virtio-pci (the default "
    "above), virtio-mmio (on microvm) or nvme. A disk image: sata (the default), usb, virtio-pci or nvme; with "
    "--firmware none as a model, but no module.",
)
@click.option(
    "--firmware",
    type=click.Choice(["bios", "uefi", "none"]),
    help="What starts a disk image. Default: bios. With none QEMU starts the kernel of this package, with the options "
    "given here, and it finds the model in the disk image, as it does with a model.",
)
@click.option("--gdb", "gdb_port", type=click.IntRange(1, 65535), metavar="PORT", help="Wait for GDB at this port.")
@story_options
def command(model: str | None, **options: Any) -> None:
    """Boot DISK.img, made by `axiom image build`, or a MODEL, and pass on what the machine writes.

    A disk image has its options inside. A model, a GGUF or an image made by `axiom pack`, takes those given here;
    without one it is the model that AXIOM_MODEL names, or the small one that comes with the package. The exit code is 0
    when the machine has done what it was asked, and else the status that it ended with (docs/bare.md).
    """
    from axiom.bare import disk_image, qemu
    from axiom.bare.kernel import Status
    from axiom.files import checked_path
    from axiom.model_file.model_file import default_model_path

    path = default_model_path() if model is None else checked_path(model, "model")
    words = kernel_options(options)
    with tempfile.TemporaryDirectory(prefix="axiom-boot-") as folder:
        if disk_image.is_disk_image(path) and options["firmware"] != "none":
            machine = _from_firmware(path, words, options)
        else:
            if not disk_image.is_disk_image(path):
                if options["firmware"] not in (None, "none"):
                    raise click.UsageError(f"--firmware: {path} is a model; make a disk image: axiom image build")
                with ProgressLine("packing") as progress:
                    path = disk_image.pack_beside(path, Path(folder), progress)
            machine = _from_kernel(path, {"telemetry": "tokens", **words}, options)
        click.echo(f"starting QEMU with {qemu.chosen_accelerator(machine)}", err=True)
        ending = qemu.show(machine)
    if ending.status is not Status.DONE:
        sys.exit(ending.status)


def _memory_mib(path: Path, wanted: str | None) -> int:
    from axiom.hardware import memory_budget, parse_memory

    if wanted is not None:
        if (n_bytes := parse_memory(wanted)) < _LEAST_MEMORY:
            raise click.UsageError(
                f"--memory: {wanted} is too little: the kernel itself needs {_LEAST_MEMORY // _MIB}MiB"
            )
        return n_bytes // _MIB
    # A module is in memory twice: as it was loaded, and as it is computed from.
    room = 2 * path.stat().st_size + _BYTES_BESIDES
    left = memory_budget().usable_bytes
    return (room if left is None else max(_BYTES_BESIDES, min(room, left // 4 * 3))) // _MIB


def _from_firmware(path: Path, words: dict[str, str], options: dict[str, Any]) -> Machine:
    from axiom.bare.disk_image import check_whole
    from axiom.bare.qemu import Machine

    if words:
        raise click.UsageError(
            f"{path} has its options inside, and takes no {', '.join(words)}: build it again, or use --firmware none"
        )
    device: Any = options["attach"] or "sata"
    if device in ("module", "virtio-mmio"):
        raise click.UsageError(f"--attach: firmware starts from sata, usb, virtio-pci or nvme, not from {device}")
    if options["board"] == "microvm":
        raise click.UsageError("--board: microvm has no firmware that starts a disk image; use q35")
    check_whole(path)
    return Machine(
        board="q35",
        memory_mib=_memory_mib(path, options["memory"]),
        n_core=options["cores"],
        accelerator=options["accelerator"],
        gdb_port=options["gdb_port"],
        image=path,
        image_device=device,
        uefi=options["firmware"] == "uefi",
    )


def _from_kernel(path: Path, words: dict[str, str], options: dict[str, Any]) -> Machine:
    from axiom.bare.disk_image import check_whole, is_disk_image
    from axiom.bare.qemu import Disk, Machine

    attach: Any = options["attach"]
    board: Any = options["board"] or "microvm"
    if attach in ("sata", "usb"):
        raise click.UsageError(f"--attach: the kernel has no driver for {attach}; use virtio-pci or nvme")
    is_disk = is_disk_image(path)
    if attach is None:
        attach = "module" if path.stat().st_size <= _LARGEST_MODULE and not is_disk else "virtio-pci"
    if (attach, is_disk) == ("module", True):
        raise click.UsageError("--attach: a disk image is no module; use virtio-pci, virtio-mmio or nvme")
    if (attach, board) == ("virtio-mmio", "q35"):
        raise click.UsageError("--attach: q35 has no virtio-mmio devices; use virtio-pci, or --board microvm")
    if is_disk:
        check_whole(path)
    return Machine(
        words,
        board=board,
        memory_mib=_memory_mib(path, options["memory"]),
        n_core=options["cores"],
        accelerator=options["accelerator"],
        gdb_port=options["gdb_port"],
        module=path if attach == "module" else None,
        disks=[] if attach == "module" else [Disk(path, attach)],
    )
