"""The header of one GGUF file: magic, metadata, tensor directory.

Source: the GGUF specification (ggml, docs/gguf.md), versions 2 and 3. A file is

    magic "GGUF" · u32 version · u64 n_tensors · u64 n_keys
    n_keys    x (string key · u32 value type · value)
    n_tensors x (string name · u32 n_dims · n_dims x u64 · u32 format · u64 offset)
    padding to `general.alignment` (32 if absent) · tensor data

Left out: big-endian files and version 1, which are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from axiom.model_file.gguf_cursor import DAMAGED, U32, U64, Cursor, MetadataValue, format_error
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.open_file import OpenFile
from axiom.record import Record

__all__ = ["Part", "TensorInfo", "named_tensor", "read_metadata", "read_part"]

# Bounds far above any real model; the rest of the file is a second bound.
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_DIMS = 4
_MAX_ALIGNMENT = 1 << 30
# The least a key takes is an empty name, a type and one byte; a tensor, an empty name and one dimension.
_LEAST_KEY_BYTES = 8 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8


class TensorInfo(Record):
    """One line of the tensor directory."""

    name: str
    format: TensorFormat
    shape: tuple[int, ...]
    """Row-major as numpy has it: the last number is the length of a row. The file stores the reverse order."""
    part: int
    """Index into `GGUFFile.paths`."""
    offset: int
    """Where the bytes start, from the beginning of that part."""
    n_bytes: int

    @property
    def n_weights(self) -> int:
        """Number of weights."""
        n = 1
        for dim in self.shape:
            n *= dim
        return n


def named_tensor(tensors: Mapping[str, TensorInfo], name: str, path: Path) -> TensorInfo:
    """Return the line of tensor `name`. Raises `ValueError` if the model at `path` has no such tensor."""
    if name not in tensors:
        raise ValueError(f"name: expected one of the {len(tensors)} tensors of {path.name}, got {name!r:.80}")
    return tensors[name]


class Part(Record):
    """The header of one file."""

    path: Path
    version: int
    alignment: int
    metadata: dict[str, MetadataValue]
    tensors: dict[str, TensorInfo]
    n_header_bytes: int
    n_keys: int
    keys: tuple[int, int]
    """Where the key-values begin and end in the file."""
    file: OpenFile


def read_part(path: Path, part_idx: int) -> Part:
    """Read and check the header of the file at `path`, part `part_idx` of its model."""
    file = OpenFile(path)
    cursor = Cursor(path, b"", file)
    version = _read_magic_and_version(cursor)
    n_tensors = _read_count(cursor, "number of tensors", _MAX_TENSORS, _LEAST_TENSOR_BYTES)
    at_count = cursor.pos
    metadata = read_metadata(cursor)
    keys = at_count + U64.size, cursor.pos
    alignment = _checked_alignment(cursor, metadata)
    tensors: dict[str, TensorInfo] = {}
    for i in range(n_tensors):
        start = cursor.pos
        info = _read_tensor_info(cursor, i, part_idx, alignment)
        if info.name in tensors:
            cursor.pos = start
            raise cursor.error("tensor name", "each name once", f"{info.name!r} again")
        tensors[info.name] = info
    placed = _placed(cursor, tensors, alignment)
    return Part(path, version, alignment, metadata, placed, cursor.pos, len(metadata), keys, file)


def read_metadata(cursor: Cursor) -> dict[str, MetadataValue]:
    """Read a count and as many key-values."""
    n_keys = _read_count(cursor, "number of metadata keys", _MAX_KEYS, _LEAST_KEY_BYTES)
    metadata: dict[str, MetadataValue] = {}
    for i in range(n_keys):
        start = cursor.pos
        key = cursor.name(f"name of metadata key {i}")
        if key in metadata:
            cursor.pos = start
            raise cursor.error("metadata key", "each key once", f"{key!r} again")
        metadata[key] = cursor.value(key)
    return metadata


def _read_magic_and_version(cursor: Cursor) -> int:
    cursor.need(8, "magic and version")
    magic = bytes(cursor.data[:4])
    if magic != b"GGUF":
        cursor.need(min(64, cursor.n_bytes), "magic")
        raise cursor.error("magic", "b'GGUF'", repr(magic), _remedy(bytes(cursor.data[:64])))
    cursor.pos = 4
    version: int = cursor.scalar(U32, "version")
    if version not in (2, 3):
        cursor.pos = 4
        if version & 0xFFFF == 0 and version != 0:
            remedy = "this file is big-endian; convert it with gguf_convert_endian.py from llama.cpp"
            raise cursor.error("version", "2 or 3, little-endian", f"{version:#010x}", remedy)
        remedy = "convert the model again with a present-day converter" if version == 1 else DAMAGED
        raise cursor.error("version", "2 or 3", str(version), remedy)
    return version


_CONVERT = "convert the model with convert_hf_to_gguf.py from llama.cpp"

# How files begin that are given for a GGUF: what they are, and what to do.
_OTHER_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"AXIOMIMG", "an .axiom image", "open it with axiom.ImageFile, or axiom.Runtime"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the model", "fetch the model with `git lfs pull`"),
    (b"<", "a web page", "download the file itself"),
    (b"PK\3\4", "a zip archive, as PyTorch saves models", _CONVERT),
    (b"\x80", "a Python pickle, as PyTorch saves models", _CONVERT),
    *((magic, "of a format before GGUF", "convert the model again") for magic in (b"lmgg", b"fmgg", b"tjgg")),
)


def _remedy(head: bytes) -> str:
    """Say what a file is that begins so, and what to do."""
    for begin, kind, remedy in _OTHER_KINDS:
        if head.startswith(begin):
            return f"this is {kind}; {remedy}"
    # The length of its header in JSON, and the header.
    if head[8:9] == b"{" and head[6:8] == bytes(2):
        return f"this is a safetensors file; {_CONVERT}"
    return "this is not a GGUF model; give the path of a .gguf file"


def _read_count(cursor: Cursor, what: str, limit: int, least_bytes: int) -> int:
    """Read a count of things that take at least `least_bytes` each, so that the rest of the file bounds it."""
    start = cursor.pos
    n: int = cursor.scalar(U64, what)
    limit = min(limit, (cursor.n_bytes - cursor.pos) // least_bytes)
    if n > limit:
        cursor.pos = start
        raise cursor.error(what, f"at most {limit} in the rest of the file", str(n))
    return n


def _checked_alignment(cursor: Cursor, metadata: dict[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if isinstance(alignment, bool) or not isinstance(alignment, int):
        raise cursor.error("general.alignment", "an integer", type(alignment).__name__)
    if not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.error("general.alignment", f"a power of two up to {_MAX_ALIGNMENT}", str(alignment))
    return alignment


def _read_tensor_info(cursor: Cursor, index: int, part_idx: int, alignment: int) -> TensorInfo:
    """Read one line of the directory; `offset` is still relative to the tensor data."""
    name = cursor.name(f"name of tensor {index}")
    n_dims: int = cursor.scalar(U32, f"number of dimensions of {name!r}")
    if not 1 <= n_dims <= _MAX_DIMS:
        cursor.pos -= 4
        raise cursor.error(f"number of dimensions of {name!r}", f"1 to {_MAX_DIMS}", str(n_dims))
    at_dims = cursor.pos
    dims = [cursor.scalar(U64, f"dimension {d} of {name!r}") for d in range(n_dims)]
    n_weights = 1
    for dim in dims:
        n_weights *= dim
    if n_weights == 0 or n_weights >= 1 << 63:
        cursor.pos = at_dims
        raise cursor.error(f"dimensions of {name!r}", "a product from 1 to 2^63 - 1", " x ".join(map(str, dims)))
    code: int = cursor.scalar(U32, f"format of {name!r}")
    try:
        format_ = TensorFormat(code)
    except ValueError:
        cursor.pos -= 4
        remedy = "the file is damaged, or uses a format newer than this reader: update axiom, or requantise the model"
        raise cursor.error(f"format of {name!r}", "a known tensor format", f"number {code}", remedy) from None
    if dims[0] % format_.block_weights:
        cursor.pos = at_dims
        expected = f"a multiple of {format_.block_weights} ({format_.name})"
        raise cursor.error(f"row length of {name!r}", expected, str(dims[0]))
    offset: int = cursor.scalar(U64, f"offset of {name!r}")
    if offset % alignment:
        cursor.pos -= 8
        raise cursor.error(f"offset of {name!r}", f"a multiple of the alignment, {alignment}", str(offset))
    n_bytes = n_weights // format_.block_weights * format_.block_bytes
    return TensorInfo(name, format_, tuple(reversed(dims)), part_idx, offset, n_bytes)


def _placed(cursor: Cursor, tensors: dict[str, TensorInfo], alignment: int) -> dict[str, TensorInfo]:
    """Give each tensor its offset in the file, after checking that all lie inside it and none on another."""
    base = -(-cursor.pos // alignment) * alignment
    end, before = base, "the header"
    for info in sorted(tensors.values(), key=lambda info: info.offset):
        start = base + info.offset
        if start < end:
            raise format_error(
                cursor.path, start, f"data of {info.name!r}", f"a start after {before}, at {end}", str(start)
            )
        end, before = start + info.n_bytes, repr(info.name)
        if end > cursor.n_bytes:
            expected = f"an end inside the file of {cursor.n_bytes} bytes"
            raise format_error(cursor.path, start, f"data of {info.name!r}", expected, f"byte {end}")
    return {name: info.replace(offset=base + info.offset) for name, info in tensors.items()}
