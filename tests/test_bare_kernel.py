"""What is in the kernel's file: vector code in the functions that say so and in no other, and a small nub."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from axiom.bare.kernel import BareError, kernel_file

try:
    ELF = kernel_file().read_bytes()
except BareError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parents[1]
EXECUTABLE = 1


class Segment(NamedTuple):
    flags: int
    offset: int
    address: int
    n_byte: int


def segments() -> list[Segment]:
    start, size, n = struct.unpack_from("<Q", ELF, 32)[0], *struct.unpack_from("<HH", ELF, 54)
    found = []
    for i in range(n):
        kind, flags, offset, address, _, n_byte = struct.unpack_from("<IIQQQQ", ELF, start + i * size)
        if kind == 1:
            found.append(Segment(flags, offset, address, n_byte))
    return found


def functions() -> list[tuple[int, str]]:
    """The table that backtraces are made with: it ends the kernel's constants."""
    names = []
    for match in re.finditer(rb"axiom_boot::story::tell\0", ELF):
        # The table's beginning is before: the count, and an entry whose name is behind the last entry.
        for start in range(match.start() // 8 * 8, 0, -8):
            n = struct.unpack_from("<I", ELF, start)[0]
            first = struct.unpack_from("<I", ELF, start + 8)[0]
            if 100 < n < 10_000 and first == 4 + 8 * n:
                for i in range(n):
                    address, name = struct.unpack_from("<II", ELF, start + 4 + 8 * i)
                    end = ELF.index(b"\0", start + name)
                    names.append((address, ELF[start + name : end].decode()))
                return names
    raise AssertionError("the kernel has no table of functions")


@pytest.fixture(scope="module")
def census(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """For each function, how many instructions use registers of 128, 256 and 512 bits."""
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed (on Debian and Ubuntu: apt-get install binutils)")
    table = functions()
    counts: dict[str, Counter[str]] = {name: Counter() for _, name in table}
    for segment in segments():
        if not segment.flags & EXECUTABLE:
            continue
        code = tmp_path_factory.mktemp("code") / "code"
        code.write_bytes(ELF[segment.offset : segment.offset + segment.n_byte])
        command = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn"]
        listing = subprocess.run(
            [*command, f"--adjust-vma={segment.address:#x}", str(code)], capture_output=True, text=True, check=True
        ).stdout
        i = 0
        for address, instruction in re.findall(r"^ *([0-9a-f]+):\t(.*)", listing, re.MULTILINE):
            while i + 1 < len(table) and table[i + 1][0] <= int(address, 16):
                i += 1
            if table[i][0] > int(address, 16):
                continue
            widest = next((name for name in ("zmm", "ymm", "xmm") if name in instruction), "plain")
            counts[table[i][1]].update([widest, instruction.removeprefix("{vex} ").split()[0]])
    return counts


def of_table(census: dict[str, Counter[str]], table: str) -> Counter[str]:
    prefix = f"axiom_core::kernels::{table}::"
    return sum((count for name, count in census.items() if name.startswith(prefix)), Counter())


def test_the_tables_have_the_instructions_of_their_names(census: dict[str, Counter[str]]) -> None:
    avx2, avxvnni, avx512, sse2 = (of_table(census, name) for name in ("avx2", "avxvnni", "avx512", "sse2"))
    assert avx2["ymm"] > 1000
    assert avx2["vpmaddubsw"] > 10
    assert avx2["zmm"] == 0
    assert avxvnni["ymm"] > 1000
    assert avxvnni["vpdpbusd"] > 10
    assert avxvnni["vpmaddubsw"] + avxvnni["zmm"] == 0
    assert avx512["zmm"] > 1000
    assert avx512["vpdpbusd"] > 10
    assert sse2["xmm"] > 1000
    assert sse2["ymm"] + sse2["zmm"] == 0


def test_nothing_rounds_once_where_twice_is_said(census: dict[str, Counter[str]]) -> None:
    # docs/arithmetic.md: no fused multiply-add anywhere.
    fused = [name for name, count in census.items() if any(re.match(r"vf[n]?m(add|sub)", key) for key in count)]
    assert fused == []


def test_only_tables_use_wide_registers(census: dict[str, Counter[str]]) -> None:
    # Everything else runs on any 64-bit processor.
    wide = [name for name, count in census.items() if count["ymm"] + count["zmm"]]
    known = re.compile(r"axiom_core::(kernels|arithmetic|format|conformance)|blake3|sha2")
    assert [name for name in wide if not known.search(name)] == []


def test_the_nub_computes_with_integers_alone(census: dict[str, Counter[str]]) -> None:
    nub = next(segment for segment in segments() if segment.flags & EXECUTABLE)
    names = [name for address, name in functions() if nub.address <= address < nub.address + nub.n_byte]
    assert len(names) > 10
    assert all(census[name]["xmm"] + census[name]["ymm"] + census[name]["zmm"] == 0 for name in names)


def test_the_nub_is_small() -> None:
    lines = [
        line.split("#")[0].strip()
        for path in sorted((ROOT / "bootkernel/src/nub").glob("*.s"))
        for line in path.read_text().splitlines()
    ]
    instructions = [line for line in lines if line and not line.startswith(".") and not re.fullmatch(r"\w+:", line)]
    assert 300 < len(instructions) <= 600


def test_nothing_is_writable_and_executable() -> None:
    assert all(segment.flags & 3 != 3 for segment in segments())
    assert [segment.flags for segment in segments()] == [5, 6, 5, 4, 6]
