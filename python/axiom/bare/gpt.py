"""A GUID partition table, as firmware and the kernel read it: UEFI Specification 2.10, sections 5.2 and 5.3.

What it leaves out: hybrid master boot records, attributes, and sectors of another size than 512 bytes.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BIOS_BOOT", "BYTES_SECTOR", "EFI_SYSTEM", "MODEL", "N_SECTOR_TABLE", "Partition", "table"]

BYTES_SECTOR = 512
N_ENTRY = 128
"""What the specification asks for at least."""
BYTES_ENTRY = 128
N_SECTOR_TABLE = 1 + N_ENTRY * BYTES_ENTRY // BYTES_SECTOR
"""A header and its entries: this many sectors after the master boot record, and as many at the end of the disk."""

EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
"""What UEFI looks for a boot loader on."""
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
"""Where GRUB keeps what BIOS starts: spelt in ASCII, "Hah!IdontNeedEFI"."""
MODEL = uuid.UUID("d6b9a5c4-3f0e-4d4e-9a73-a8104d1a6e01")
"""An `.axiom` image. The kernel goes by what a partition begins with; the type keeps others from using it."""

_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")


@dataclass(frozen=True)
class Partition:
    """Some sectors of a disk, from `first` on."""

    kind: uuid.UUID
    name: str
    first: int
    n_sector: int


def table(partitions: Sequence[Partition], n_sector: int, code: bytes) -> tuple[bytes, bytes]:
    """Return the first and the last sectors of a disk of `n_sector`, with `partitions` in order.

    `code` is what BIOS runs, at most 440 bytes. Raises `ValueError` if it does not fit, or a partition does not.
    """
    first_usable, last_usable = 1 + N_SECTOR_TABLE, n_sector - N_SECTOR_TABLE - 1
    end = first_usable
    for partition in partitions:
        if partition.first < end or partition.n_sector < 1 or partition.first + partition.n_sector > last_usable + 1:
            raise ValueError(f"{partition}: does not fit between sectors {end} and {last_usable}")
        end = partition.first + partition.n_sector
    entries = b"".join(map(_entry, partitions)).ljust(N_ENTRY * BYTES_ENTRY, b"\0")
    disk = uuid.uuid4()

    def header(here: int, other: int, first_entry: int) -> bytes:
        fields = [b"EFI PART", b"\0\0\1\0", _HEADER.size, 0, 0, here, other, first_usable, last_usable, disk.bytes_le]
        fields += [first_entry, N_ENTRY, BYTES_ENTRY, zlib.crc32(entries)]
        # The checksum is of the header with zeros in its own place.
        fields[3] = zlib.crc32(_HEADER.pack(*fields))
        return _HEADER.pack(*fields).ljust(BYTES_SECTOR, b"\0")

    start = _protective_record(n_sector, code) + header(1, n_sector - 1, 2) + entries
    return start, entries + header(n_sector - 1, 1, n_sector - N_SECTOR_TABLE)


def _entry(partition: Partition) -> bytes:
    name = partition.name.encode("utf-16-le")
    last = partition.first + partition.n_sector - 1
    return _ENTRY.pack(partition.kind.bytes_le, uuid.uuid4().bytes_le, partition.first, last, 0, name)


def _protective_record(n_sector: int, code: bytes) -> bytes:
    """The master boot record: one entry that covers the disk, so that nobody takes it for empty."""
    if len(code) > 440:
        raise ValueError(f"{len(code)} bytes of code, of which 440 fit")
    whole = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(n_sector - 1, 0xFFFF_FFFF))
    return code.ljust(446, b"\0") + whole.ljust(64, b"\0") + b"\x55\xaa"
