"""The GGUF reader: what it returns for sound files, and that nothing else ever happens than that or one error."""

# ruff: noqa: E501 - tables of cases, one on a line

from __future__ import annotations

import hashlib
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from axiom.errors import ModelFormatError
from axiom.model_file import gguf_cursor
from axiom.model_file.gguf_file import GGUFFile, StringArray
from axiom.model_file.gguf_types import TensorFormat


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return string(name) + struct.pack("<I", kind) + value


def tensor(name: bytes, dims: list[int], format_: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, format_, offset)


def header(keys: list[bytes], tensors: list[bytes], version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys + tensors)


def whole(keys: list[bytes], tensors: list[bytes], n_data: int, alignment: int = 32, **kwargs: Any) -> bytes:
    head = header(keys, tensors, **kwargs)
    return head + bytes(-len(head) % alignment) + bytes(i % 251 for i in range(n_data))


@pytest.fixture
def open_bytes(tmp_path: Path) -> Callable[[bytes], GGUFFile]:
    def opened(content: bytes) -> GGUFFile:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return GGUFFile(path)

    return opened


SOUND = whole(
    [
        key(b"general.architecture", 8, string(b"llama")),
        key(b"u8", 0, b"\xff"),
        key(b"i8", 1, b"\xff"),
        key(b"u16", 2, b"\xff\xff"),
        key(b"i16", 3, b"\xff\xff"),
        key(b"u32", 4, b"\xff" * 4),
        key(b"i32", 5, b"\xff" * 4),
        key(b"f32", 6, struct.pack("<f", 0.1)),
        key(b"bool", 7, b"\1"),
        key(b"u64", 10, b"\xff" * 8),
        key(b"i64", 11, b"\xff" * 8),
        key(b"f64", 12, struct.pack("<d", 0.1)),
        key(b"no utf-8", 8, string(b"\xff")),
        key(b"strings", 9, struct.pack("<IQ", 8, 3) + string(b"a") + string(b"") + string("é\0".encode())),
        key(b"floats", 9, struct.pack("<IQ2f", 6, 2, 1.5, -2)),
        key(b"bools", 9, struct.pack("<IQ2B", 7, 2, 1, 0)),
        key(b"empty", 9, struct.pack("<IQ", 8, 0)),
        key(b"no ints", 9, struct.pack("<IQ", 5, 0)),
    ],
    [tensor(b"a", [4, 3], 0, 0), tensor(b"b", [32, 2], 2, 64), tensor(b"c", [2, 1, 1, 5], 1, 128)],
    148,
)


def test_every_kind_of_value(open_bytes: Callable[[bytes], GGUFFile]) -> None:
    metadata = open_bytes(SOUND).metadata
    expected = {
        "general.architecture": "llama", "u8": 255, "i8": -1, "u16": 65535, "i16": -1, "u32": 2**32 - 1, "i32": -1,
        "f32": float(np.float32(0.1)), "bool": True, "u64": 2**64 - 1, "i64": -1, "f64": 0.1, "no utf-8": b"\xff",
    }  # fmt: skip
    assert {name: metadata[name] for name in expected} == expected
    assert metadata["bool"] is True
    strings = metadata["strings"]
    assert isinstance(strings, StringArray)
    assert list(strings) == strings == [b"a", b"", "é\0".encode()]
    assert strings[2] == strings[-1] == "é\0".encode()
    assert strings[:2] == [b"a", b""]
    assert b"a" in strings
    assert repr(strings) == "StringArray(3: b'a', b'', b'\\xc3\\xa9\\x00')"
    with pytest.raises(IndexError):
        strings[3]
    floats = metadata["floats"]
    assert isinstance(floats, memoryview)
    assert floats.format == "f"
    assert floats.tolist() == [1.5, -2]
    assert floats.readonly
    assert metadata["bools"].tolist() == [True, False]
    assert list(metadata["empty"]) == []
    assert metadata["no ints"].tolist() == []


def test_tensors(open_bytes: Callable[[bytes], GGUFFile]) -> None:
    file = open_bytes(SOUND)
    assert [(t.name, t.format, t.shape, t.n_bytes, t.n_weights) for t in file.tensors.values()] == [
        ("a", TensorFormat.F32, (3, 4), 48, 12),
        ("b", TensorFormat.Q4_0, (2, 32), 36, 64),
        ("c", TensorFormat.F16, (5, 1, 1, 2), 20, 10),
    ]
    base = len(SOUND) - 148
    for name, start, n in (("a", 0, 48), ("b", 64, 36), ("c", 128, 20)):
        stored = file.tensor_data(name)
        assert stored.tobytes() == SOUND[base + start : base + start + n]
        assert not stored.flags.writeable
    assert file.n_bytes == len(SOUND)
    assert file.alignment == 32
    assert file.version == 3
    assert "18 keys, 3 tensors" in repr(file)


def test_version_2_and_own_alignment(open_bytes: Callable[[bytes], GGUFFile]) -> None:
    keys = [key(b"general.alignment", 4, struct.pack("<I", 8))]
    file = open_bytes(whole(keys, [tensor(b"a", [2], 0, 0), tensor(b"b", [2], 0, 8)], 16, alignment=8, version=2))
    assert file.version == 2
    assert file.tensors["b"].offset % 8 == 0
    assert file.tensor_data("b").tobytes() == bytes(range(8, 16))


def test_digest(open_bytes: Callable[[bytes], GGUFFile]) -> None:
    calls: list[tuple[int, int]] = []
    file = open_bytes(SOUND)
    assert file.digest(lambda done, total: calls.append((done, total))) == hashlib.sha256(SOUND).hexdigest()
    assert calls[-1] == (len(SOUND), len(SOUND))
    end = SOUND.index(b"\x05\0\0\0\0\0\0\0\x01\0\0\0") + 20  # the last line of the directory
    assert file.header_digest() == hashlib.sha256(SOUND[:end]).digest()


def test_agrees_with_the_gguf_package(random_model: Callable[..., Path]) -> None:
    path = random_model(arch="qwen2", fmt="Q4_K_M")
    ours, theirs = GGUFFile(path), gguf.GGUFReader(path)
    assert [t.name for t in theirs.tensors] == list(ours.tensors)
    for info in theirs.tensors:
        mine = ours.tensors[info.name]
        assert (mine.format.name, mine.shape[::-1]) == (info.tensor_type.name, tuple(info.shape.tolist()))
        assert (mine.offset, mine.n_bytes) == (info.data_offset, info.n_bytes)
        assert np.array_equal(ours.tensor_data(info.name), info.data.view(np.uint8).reshape(-1))
    for name, field in theirs.fields.items():
        if name.startswith("GGUF."):
            continue
        want, have = field.contents(), ours.metadata[name]
        if isinstance(have, StringArray):
            assert [item.decode() for item in have] == want
        elif isinstance(have, memoryview):
            assert have.tolist() == want
        else:
            assert have == want


def test_every_format_of_the_gguf_package_has_its_block() -> None:
    for format_, (n_weights, n_bytes) in gguf.GGML_QUANT_SIZES.items():
        if format_.name == "Q8_1":  # the package counts two f32 that files of the format do not have
            continue
        ours = TensorFormat(int(format_))
        assert (ours.name, ours.block_weights, ours.block_bytes) == (format_.name, n_weights, n_bytes)


def test_large_vocabulary_opens_quickly(tmp_path: Path) -> None:
    n = 150_000
    words = b"".join(string(b"word%d" % i) for i in range(n))
    content = header([key(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, n) + words)], [])
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(content)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        file = GGUFFile(path)
        seconds.append(time.perf_counter() - begin)
    assert file.metadata["tokenizer.ggml.tokens"][n - 1] == b"word149999"
    assert min(seconds) < 0.2


@given(
    st.lists(st.binary(max_size=12).map(string) | st.integers(0, 2**64 - 1).map(struct.Struct("<Q").pack), max_size=6),
    st.integers(0, 8), st.integers(0, 7), st.integers(-20, 20),
)  # fmt: skip
def test_strings_are_passed_over_alike_without_the_extension(
    strings: list[bytes], start: int, n: int, n_after: int
) -> None:
    native = pytest.importorskip("axiom._native")
    data = b"".join(strings)
    where = data, min(start, len(data)), n, max(0, len(data) + n_after)
    assert gguf_cursor._skip_strings(*where) == native.skip_strings(*where)


U64_MAX = 2**64 - 1
ONE = [tensor(b"a", [4], 0, 0)]
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "magic and version: expected 8 more bytes, got 0"),
    "magic": (b"GGML" + SOUND[4:], r"byte 0: magic: expected b'GGUF', got b'GGML'; this is not a GGUF model"),
    "image": (b"AXIOMIMG" + bytes(8), "this is an .axiom image; open it with axiom.ImageFile"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS .*; fetch the model with `git lfs pull`"),
    "web page": (b"<!DOCTYPE html>", "this is a web page; download the file itself"),
    "zip": (b"PK\3\4" + bytes(8), "this is a zip archive, .*; convert the model with convert_hf_to_gguf.py"),
    "pickle": (b"\x80\4" + bytes(8), "this is a Python pickle, .*; convert the model with convert_hf_to_gguf.py"),
    "safetensors": (struct.pack("<Q", 70000) + b'{"a":{}}', "this is a safetensors file; convert the model with"),
    "ggjt": (b"tjgg" + bytes(8), "this is of a format before GGUF; convert the model again"),
    "PDF": (b"%PDF-1.4 ", "this is not a GGUF model; give the path of a .gguf file"),
    "version 1": (header([], [], version=1), "version: expected 2 or 3, got 1; convert the model again"),
    "version 4": (header([], [], version=4), "version: expected 2 or 3, got 4"),
    "version 0": (header([], [], version=0), "version: expected 2 or 3, got 0"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "this file is big-endian"),
    "tensor count": (b"GGUF" + struct.pack("<IQQ", 3, U64_MAX, 0), f"byte 8: number of tensors: .* got {U64_MAX}"),
    "key count": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "byte 16: number of metadata keys: .* got 1152921504606846976"),
    "key count over the rest": (b"GGUF" + struct.pack("<IQQ", 3, 0, 9), "at most 0 in the rest of the file, got 9"),
    "key length": (header([struct.pack("<Q", U64_MAX) + bytes(99)], []), "length of name of metadata key 0: expected at most 65536"),
    "key cut": (header([struct.pack("<Q", 999) + bytes(99)], []), "name of metadata key 0: expected 999 more bytes"),
    "key not UTF-8": (header([key(b"\xff", 0, b"\0")], []), r"expected UTF-8, got b'\\xff'"),
    "key twice": (header([key(b"k", 0, b"\0")] * 2, []), "expected each key once, got 'k' again"),
    "value type": (header([key(b"k", 13, b"\0")], []), "value type of 'k': expected a value type from 0 to 12, got 13"),
    "bool": (header([key(b"k", 7, b"\2")], []), "expected a bool, 0 or 1, got 2"),
    "string length": (header([key(b"k", 8, struct.pack("<Q", 1 << 50))], []), "length of value of 'k'"),
    "array type": (header([key(b"k", 9, struct.pack("<IQ", 99, 0))], []), "item type of array 'k'"),
    "array in array": (header([key(b"k", 9, struct.pack("<IQ", 9, 1) + bytes(64))], []), "arrays inside an array"),
    "array length": (header([key(b"k", 9, struct.pack("<IQ", 6, U64_MAX) + bytes(64))], []), "length of array 'k': .* at most 16 items"),
    "string array length": (header([key(b"k", 9, struct.pack("<IQ", 8, 1 << 40) + bytes(64))], []), "at most 8 items"),
    "string in array": (
        header([key(b"k", 9, struct.pack("<IQ", 8, 3) + string(b"a") + struct.pack("<Q", U64_MAX) + bytes(64))], []),
        "string 1 of array 'k': expected an end inside the file",
    ),
    "last string in array": (
        header([key(b"k", 9, struct.pack("<IQ", 8, 2) + string(b"a") + struct.pack("<Q", 9))], []),
        "string 1 of array 'k': expected an end inside the file",
    ),
    "bools in array": (header([key(b"k", 9, struct.pack("<IQ", 7, 1) + b"\3")], []), "expected bools, each 0 or 1, got 3"),
    "alignment 0": (whole([key(b"general.alignment", 4, bytes(4))], ONE, 16), "general.alignment: expected a power of two"),
    "alignment 24": (whole([key(b"general.alignment", 4, struct.pack("<I", 24))], ONE, 16), "power of two .* got 24"),
    "alignment huge": (whole([key(b"general.alignment", 10, struct.pack("<Q", 1 << 63))], ONE, 16), "general.alignment"),
    "alignment text": (whole([key(b"general.alignment", 8, string(b"32"))], ONE, 16), "expected an integer, got str"),
    "no dims": (whole([], [tensor(b"a", [])], 16), "number of dimensions of 'a': expected 1 to 4, got 0"),
    "five dims": (whole([], [tensor(b"a", [1] * 5)], 16), "expected 1 to 4, got 5"),
    "many dims": (whole([], [string(b"a") + struct.pack("<I", 2**32 - 1) + bytes(99)], 16), "got 4294967295"),
    "zero dim": (whole([], [tensor(b"a", [4, 0])], 16), "dimensions of 'a': expected a product from 1 .* got 4 x 0"),
    "dims overflow": (whole([], [tensor(b"a", [1 << 32, 1 << 32])], 16), "dimensions of 'a'"),
    "dims overflow to zero": (whole([], [tensor(b"a", [1 << 32, 1 << 32, 1 << 32])], 16), "dimensions of 'a'"),
    "format": (whole([], [tensor(b"a", [4], 999)], 16), "format of 'a': expected a known tensor format, got number 999"),
    "removed format": (whole([], [tensor(b"a", [4], 4)], 16), "got number 4"),
    "part of a block": (whole([], [tensor(b"a", [33], 2)], 64), "row length of 'a': expected a multiple of 32"),
    "offset unaligned": (whole([], [tensor(b"a", [4], 0, 16)], 64), "offset of 'a': expected a multiple of the alignment, 32, got 16"),
    "offset out of the file": (whole([], [tensor(b"a", [4], 0, 1 << 63)], 16), "data of 'a': expected an end inside the file"),
    "data cut": (whole([], ONE, 15), "data of 'a': expected an end inside the file"),
    "overlap": (whole([], [tensor(b"a", [9]), tensor(b"b", [4], 0, 32)], 64), "data of 'b': expected a start after 'a'"),
    "same offset": (whole([], [tensor(b"a", [4]), tensor(b"b", [4])], 64), "data of 'b': expected a start after 'a'"),
    "tensor twice": (whole([], [tensor(b"a", [4]), tensor(b"a", [4], 0, 32)], 64), "expected each name once, got 'a' again"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_a_reason(name: str, open_bytes: Callable[[bytes], GGUFFile]) -> None:
    content, message = HOSTILE[name]
    with pytest.raises(ModelFormatError, match=message) as caught:
        open_bytes(content)
    assert str(caught.value).startswith("model.gguf")
    assert "; " in str(caught.value)  # before what to do
    _file_or_error(open_bytes, content)


def test_truncation_at_every_length_is_refused(open_bytes: Callable[[bytes], GGUFFile]) -> None:
    for n in range(len(SOUND)):
        with pytest.raises(ModelFormatError):
            open_bytes(SOUND[:n])
        _file_or_error(open_bytes, SOUND[:n])


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes_give_a_file_or_one_error(
    open_bytes: Callable[[bytes], GGUFFile], changes: list[tuple[int, int]]
) -> None:
    content = bytearray(SOUND)
    for at, value in changes:
        content[at] = value
    _file_or_error(open_bytes, bytes(content))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SOUND) - 8), st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, U64_MAX]))
def test_numbers_put_anywhere_give_a_file_or_one_error(
    open_bytes: Callable[[bytes], GGUFFile], at: int, number: int
) -> None:
    _file_or_error(open_bytes, SOUND[:at] + struct.pack("<Q", number) + SOUND[at + 8 :])


def _file_or_error(open_bytes: Callable[[bytes], GGUFFile], content: bytes) -> None:
    """Whether the header is read at once or in small pieces."""
    outcomes = []
    for least in (gguf_cursor._LEAST_READ_BYTES, 1):
        tracemalloc.start()
        begin = time.perf_counter()
        try:
            with mock.patch.object(gguf_cursor, "_LEAST_READ_BYTES", least):
                file = open_bytes(content)
            for name in file.tensors:
                assert len(file.tensor_data(name)) == file.tensors[name].n_bytes
            values = {
                key: list(v) if isinstance(v, memoryview | StringArray) else v for key, v in file.metadata.items()
            }
            outcomes.append(repr((values, file.tensors, file.header_digest())))
        except ModelFormatError as error:
            outcomes.append(str(error))
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 4 << 20
        assert time.perf_counter() - begin < 2
    assert outcomes[0] == outcomes[1]


# Split files


def parts_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*-of-*.gguf"))


@pytest.fixture
def split_model(tmp_path: Path) -> Path:
    from tests.models import write_random_model

    return write_random_model(tmp_path / "m.gguf", fmt="F32", n_embd=32, n_ff=32, n_layer=1, split=3)


def test_parts_open_as_one(split_model: Path) -> None:
    file = GGUFFile(split_model)
    assert len(file.paths) == 3
    assert file.paths == tuple(parts_of(split_model))
    reader = [gguf.GGUFReader(path) for path in file.paths]
    expected = {info.name: info.data.view(np.uint8).reshape(-1) for part in reader for info in part.tensors}
    assert list(file.tensors) == list(expected)
    for name, content in expected.items():
        assert np.array_equal(file.tensor_data(name), content)
    assert file.digest() == hashlib.sha256(b"".join(path.read_bytes() for path in file.paths)).hexdigest()
    assert file.n_bytes == sum(path.stat().st_size for path in file.paths)


def test_a_later_part_names_the_first(split_model: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"open the first part, m-00001-of-00003\.gguf"):
        GGUFFile(parts_of(split_model)[1])


def test_a_missing_part_is_named(split_model: Path) -> None:
    parts_of(split_model)[2].unlink()
    with pytest.raises(FileNotFoundError, match=r"part 3 of 3 of m-00001-of-00003.gguf is missing"):
        GGUFFile(split_model)


def test_a_renamed_first_part_is_refused(split_model: Path) -> None:
    renamed = split_model.rename(split_model.with_name("other.gguf"))
    with pytest.raises(ModelFormatError, match=r"a name that ends in -00001-of-00003\.gguf"):
        GGUFFile(renamed)


def test_parts_in_the_wrong_order_are_refused(split_model: Path) -> None:
    _, second, third = parts_of(split_model)
    content = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"expected split.no 1, split.count 3, got split.no 2"):
        GGUFFile(split_model)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        GGUFFile(tmp_path / "nothing.gguf")
    with pytest.raises(IsADirectoryError):
        GGUFFile(tmp_path)
