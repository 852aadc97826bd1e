"""One file that boots: written to a stick or a disk, it starts under BIOS and under UEFI and runs its model.

    sector 0        GRUB's boot sector, in a protective master boot record; then the partition table
    1 MiB           partition 1: GRUB for BIOS
    2 MiB           partition 2: FAT32 with GRUB for UEFI, the kernel, and the configuration, a text file
    42 MiB          partition 3: the model, an `.axiom` image
    the end         the partition table again

GRUB puts the model into memory beside the kernel, by the firmware's own drivers, which know every disk that they boot
from; or it leaves it where it is, for the kernel to find and to stream from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal
from uuid import UUID

from axiom.bare import gpt, grub
from axiom.bare.gpt import BYTES_SECTOR, Partition
from axiom.bare.kernel import BareError, kernel_file
from axiom.files import checked_target, whole_file
from axiom.image_writer import pack
from axiom.model_file.model_file import is_image, open_model
from axiom.model_file.open_file import OpenFile

__all__ = ["LARGEST_LOADED", "Load", "build", "check_whole", "is_disk_image", "pack_beside", "write"]

Load = Literal["firmware", "kernel"]
"""Who brings the model into memory."""

LARGEST_LOADED = 1 << 30
"""Bytes of a model that firmware is asked to load, unless it is said otherwise: its drivers are slow, and what it loads
has to lie below 4 GiB."""

_MIB = 1 << 20
_BIOS_START, _UEFI_START, _MODEL_START = 1 * _MIB, 2 * _MIB, 42 * _MIB
# Where in the partition table's header the sector of its copy stands, which is the last of the disk.
_OTHER_TABLE = 32
_UEFI_PARTITION, _MODEL_PARTITION = 2, 3
_SECTORS_PER_MIB = _MIB // BYTES_SECTOR
# Not made of the name of the file that is written, which may be as long as names can be.
_FOLDER_PREFIX = ".axiom-"


def is_disk_image(path: Path) -> bool:
    """Whether the file begins as a partitioned disk does."""
    start = OpenFile(path).head(2 * BYTES_SECTOR)
    return start[510:512] == b"\x55\xaa" and start[BYTES_SECTOR : BYTES_SECTOR + 8] == b"EFI PART"


def check_whole(path: Path) -> None:
    """Check that a disk image has all the sectors that its partition table counts.

    Raises `BareError` if it is cut off; a machine that starts from it stops somewhere, and says nothing.
    """
    file = OpenFile(path)
    n_byte = (int.from_bytes(file.read(BYTES_SECTOR + _OTHER_TABLE, 8), "little") + 1) * BYTES_SECTOR
    if file.n_bytes < n_byte:
        raise BareError(f"{path}: expected {n_byte} bytes, got {file.n_bytes}; it is cut off: build or copy it again")


def pack_beside(model: Path, folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Path:
    """The model as an `.axiom` image: itself, if it is one, else a new file in `folder`."""
    if is_image(model):
        return model
    return pack(model, folder / "model.axiom", on_progress=on_progress)


def build(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    options: Mapping[str, str],
    *,
    load: Load | None = None,
    menu_s: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the disk image `path` that boots and runs `model`, a GGUF or an `.axiom` image, and return its path.

    A GGUF is packed first; `on_progress(n_done, n_total)` is called meanwhile. A file at `path` is replaced when the
    new one is whole. `options` are for the kernel's command line (docs/bare.md). `load` says whether firmware puts the
    model into memory, or the kernel reads it from its partition, which it can on NVMe and virtio disks; None is
    firmware, for models of up to 1 GiB. For `menu_s` seconds the other way can be chosen from a menu. Raises
    `BareError` if a package is missing, or one of its programs fails.
    """
    sources = open_model(model).paths
    target = checked_target(path, *sources)
    grub.require()
    kernel_file()
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=_FOLDER_PREFIX) as name:
        folder = Path(name)
        image = pack_beside(Path(model), folder, on_progress)
        by_firmware = load == "firmware" or (load is None and image.stat().st_size <= LARGEST_LOADED)
        with whole_file(path, *sources) as file:
            _write_into(file, folder, options, image, by_firmware=by_firmware, menu_s=menu_s)
    return Path(path)


def write(path: Path, options: Mapping[str, str]) -> None:
    """Write a disk image without a model: for tests of the machine."""
    grub.require()
    with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as name, whole_file(path) as file:
        _write_into(file, Path(name), options, None, by_firmware=False, menu_s=0)


def _write_into(
    file: BinaryIO, folder: Path, options: Mapping[str, str], image: Path | None, *, by_firmware: bool, menu_s: int
) -> None:
    """Write all of a disk image to an empty file; `folder` is for GRUB's own files."""
    bytes_model = image.stat().st_size if image else 0
    n_mib = -(-(_MODEL_START + bytes_model) // _MIB) + 1
    n_sector = n_mib * _SECTORS_PER_MIB
    partitions = [
        Partition(gpt.BIOS_BOOT, "axiom bios", _BIOS_START // BYTES_SECTOR, _SECTORS_PER_MIB),
        _partition(gpt.EFI_SYSTEM, "axiom boot", _UEFI_START, _MODEL_START - _UEFI_START),
    ]
    module = None
    if image:
        partitions.append(_partition(gpt.MODEL, "axiom model", _MODEL_START, bytes_model))
        module = f"gpt{_MODEL_PARTITION})0+{partitions[-1].n_sector}"
    code, core = grub.bios_parts(folder, _BIOS_START // BYTES_SECTOR, _UEFI_PARTITION)
    if len(core) > _UEFI_START - _BIOS_START:
        raise BareError(f"GRUB for BIOS has {len(core)} bytes, for which the disk image has no room")
    start, end = gpt.table(partitions, n_sector, code)
    file.truncate(n_sector * BYTES_SECTOR)
    file.write(start)
    file.seek(_BIOS_START)
    file.write(core)
    if image:
        file.seek(_MODEL_START)
        _copy(image, file)
    file.seek(n_sector * BYTES_SECTOR - len(end))
    file.write(end)
    # The programs that fill a partition write to the file by its name.
    file.flush()
    configuration = folder / "grub.cfg"
    text = grub.configuration(options, module, is_loaded=by_firmware, menu_s=menu_s)
    configuration.write_text(text, encoding="utf-8")
    _fill_system_partition(
        Path(file.name),
        {
            "/EFI/BOOT/BOOTX64.EFI": grub.uefi_program(folder, _UEFI_PARTITION),
            "/boot/axiom": kernel_file(),
            f"{grub.FOLDER}/grub.cfg": configuration,
        },
    )


def _partition(kind: UUID, name: str, start: int, n_byte: int) -> Partition:
    return Partition(kind, name, start // BYTES_SECTOR, -(-n_byte // BYTES_SECTOR))


def _copy(image: Path, file: BinaryIO) -> None:
    source, step = OpenFile(image), 8 * _MIB
    for start in range(0, source.n_bytes, step):
        file.write(source.read(start, min(step, source.n_bytes - start)))


def _fill_system_partition(disk: Path, files: Mapping[str, Path]) -> None:
    """Format partition 2 and copy files into it, inside of the disk image."""
    drive = ["-i", f"{disk}@@{_UEFI_START}"]
    # mtools compares sizes with those of real drives otherwise, and asks questions.
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    n_sector = (_MODEL_START - _UEFI_START) // BYTES_SECTOR
    # FAT32, which every firmware reads, by small clusters: it has to have 65,525 of them.
    geometry = ["-F", "-c", "1", "-T", str(n_sector), "-H", str(_UEFI_START // BYTES_SECTOR), "-h", "64", "-s", "32"]
    grub.run(["mformat", *drive, *geometry, "-v", "AXIOM", "::"], environment)
    folders = {str(parent): None for name in files for parent in reversed(Path(name).parents) if str(parent) != "/"}
    grub.run(["mmd", *drive, *(f"::{folder}" for folder in folders)], environment)
    for name, source in files.items():
        grub.run(["mcopy", *drive, "-o", str(source), f"::{name}"], environment)
