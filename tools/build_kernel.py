"""Builds the bare kernel and writes the ELF file that boots: without debug information, with its table of functions.

The kernel prints backtraces by itself, on machines where nobody else could look names up. So the names of its
functions, which the linker only writes for debuggers, are copied into `.symbols`, a section that the kernel reserves
and reads (`bootkernel/src/symbols.rs`).

    build_kernel.py OUTPUT
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

KERNEL = Path(__file__).resolve().parent.parent / "bootkernel"
"""The kernel's workspace."""

ELF_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
SYMTAB, FUNCTION, NOTYPE = 2, 2, 0
EXECUTABLE = 4


class Section(NamedTuple):
    """A section header, with its name."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


def sections(elf: bytes) -> list[Section]:
    """The section headers of an ELF64 file."""
    header = ELF_HEADER.unpack_from(elf)
    offset, entry_size, n, names_idx = header[6], header[11], header[12], header[13]
    raw = [SECTION_HEADER.unpack_from(elf, offset + i * entry_size) for i in range(n)]
    names = raw[names_idx][4]
    return [
        Section(text_at(elf, names + name), kind, flags, address, start, size, link)
        for name, kind, flags, address, start, size, link, *_ in raw
    ]


def text_at(elf: bytes, offset: int) -> str:
    """The zero-terminated text at an offset."""
    return elf[offset : elf.index(b"\0", offset)].decode()


def functions(elf: bytes) -> list[tuple[int, str]]:
    """Addresses and names of all code, in order; of several names for an address, the one that says most."""
    headers = sections(elf)
    table = next(section for section in headers if section.kind == SYMTAB)
    strings = headers[table.link].offset
    found: dict[int, str] = {}
    for at in range(table.offset, table.offset + table.size, SYMBOL.size):
        name, info, _, section, address, _ = SYMBOL.unpack_from(elf, at)
        if not 0 < section < len(headers):
            continue
        place = headers[section]
        # The linker's own names stand at the ends of sections too.
        is_code = place.flags & EXECUTABLE and place.address <= address < place.address + place.size
        if is_code and info & 15 in (FUNCTION, NOTYPE):
            text = demangle(text_at(elf, strings + name))
            found[address] = max(found.get(address, ""), text, key=len)
    return sorted(found.items())


def demangle(name: str) -> str:
    """The path in a mangled Rust name: identifiers as they are written, without hashes and generic arguments."""
    if legacy := re.match(r"_ZN(.*)E(\.|$)", name):
        parts = identifiers(legacy[1], separator="")
        if parts and re.fullmatch("h[0-9a-f]{16}", parts[-1]):
            parts.pop()
        # What begins with an escaped character has an underscore before it.
        text = "::".join(part[1:] if part.startswith("_$") else part for part in parts)
        for code, character in (("$LT$", "<"), ("$GT$", ">"), ("$RF$", "&"), ("$BP$", "*"), ("$C$", ","), ("..", "::")):
            text = text.replace(code, character)
        return re.sub(r"\$u([0-9a-f]{2})\$", lambda match: chr(int(match[1], 16)), text)
    if name.startswith("_R"):
        return "::".join(identifiers(name[2:])) or name
    return name


def identifiers(text: str, separator: str = "_?") -> list[str]:
    """The identifiers of a mangled name: each is preceded by its length, and what is in between is left out."""
    parts = []
    at = 0
    while at < len(text):
        if text[at] in "sB":
            # A disambiguator or a reference backwards: a number in base 62, whose digits are no lengths.
            at = text.find("_", at) + 1 or len(text)
        elif length := re.compile(r"(\d+)" + separator).match(text, at):
            end = length.end() + int(length[1])
            parts.append(text[length.end() : end])
            at = end
        else:
            at += 1
    return parts


def symbol_table(names: list[tuple[int, str]], room: int) -> bytes:
    """The count, the addresses with the offsets of their names, and the names, each ended by a zero byte."""
    start = 4 + 8 * len(names)
    entries, text = bytearray(), bytearray()
    for address, name in names:
        entries += struct.pack("<II", address, start + len(text))
        text += name.encode() + b"\0"
    table = struct.pack("<I", len(names)) + entries + text
    if len(table) > room:
        sys.exit(f"the kernel's functions need {len(table)} bytes of .symbols, which has {room}; raise BYTES_SYMBOLS")
    return table


def finish(elf: bytes) -> bytes:
    """The file as it boots: what is loaded, with the table of functions, and nothing after it."""
    image = bytearray(elf)
    headers = sections(elf)
    place = next(section for section in headers if section.name == ".symbols")
    table = symbol_table(functions(elf), place.size)
    image[place.offset : place.offset + len(table)] = table
    header = list(ELF_HEADER.unpack_from(elf))
    program_offset, program_size, n_program = header[5], header[9], header[10]
    ends = []
    for i in range(n_program):
        offset, _, _, size = struct.unpack_from("<QQQQ", elf, program_offset + i * program_size + 8)
        ends.append(offset + size)
    header[6] = header[11] = header[12] = header[13] = 0  # no section headers
    ELF_HEADER.pack_into(image, 0, *header)
    return bytes(image[: max(ends)])


def main() -> None:
    """Builds and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=KERNEL, check=True)
    image = finish((KERNEL / "target/release/axiom-boot").read_bytes())
    if not output.exists() or output.read_bytes() != image:
        output.write_bytes(image)


if __name__ == "__main__":
    main()
