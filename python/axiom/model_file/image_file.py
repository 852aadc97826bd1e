"""An `.axiom` image on disk: a model packed so that an engine computes from it as it lies (docs/image.md).

The head is read whole, checked against its digest, and gives what a GGUF header gives: metadata, tensors, and the
digests of the GGUF that it was packed from. Weights stay on disk until an engine reads them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from axiom.errors import ModelFormatError
from axiom.model_file.gguf_cursor import Cursor, MetadataValue, format_error
from axiom.model_file.gguf_header import TensorInfo, named_tensor, read_metadata
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.open_file import OpenFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["HEADER", "HEADER_BYTES", "MAGIC", "ROOT_OFFSET", "VERSION", "ExtentInfo", "ImageFile", "image_digest"]

MAGIC = b"AXIOMIMG"
VERSION = 1
HEADER_BYTES = 4096
ROOT_OFFSET = HEADER_BYTES - 32
# magic, version, reserved, bytes of the file, bytes of the head, four sections (offset, bytes): metadata, directory,
# names, extents; count of tensors; SHA-256 of the GGUF and of its header; then the configuration.
HEADER = struct.Struct("<8sIIQQ8QQ32s32s")
CONFIG_OFFSET = 168
CONFIG = struct.Struct("<8Qd2QdQ5dQ")
TENSOR_ENTRY = struct.Struct("<IIIIQQQQ")
EXTENT_ENTRY = struct.Struct("<QQ32s")
_MOST_HEAD = 1 << 30
# What is read at a time where any number of bytes may have to be read.
_STEP_BYTES = 1 << 22
_Place = tuple[int, int]
"""Offset and bytes."""


class ExtentInfo:
    """One run of weights: its place in the file and its digest."""

    def __init__(self, offset: int, n_bytes: int, digest: bytes):
        """Take the numbers of the table."""
        self.offset, self.n_bytes, self.digest = offset, n_bytes, digest


def image_digest(data: bytes | npt.NDArray[np.uint8]) -> bytes:
    """Return the BLAKE3 digest of some bytes, by the extension if it is there."""
    try:
        from axiom._native import blake3
    except ImportError:
        from axiom.reference.image import blake3
    result: bytes = blake3(data)
    return result


class ImageFile:
    """The head of an image, with the attributes of `GGUFFile` that a model needs.

    Raises `ModelFormatError` if the head is not sound, `OSError` if the file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Read and check the head at `path`."""
        self._file = OpenFile(path)
        self.path: Path = self._file.path
        self.paths: tuple[Path, ...] = (self.path,)
        self.n_bytes: int = self._file.n_bytes
        head = self._read_head()
        self.n_head = len(head)
        """Bytes before the first extent can begin."""
        self.root: bytes = head[ROOT_OFFSET:HEADER_BYTES]
        """The digest of the head, and through it of all that the image holds."""
        self._kept: tuple[int, bytes] | None = None
        self._source_sha256: bytes
        self._header_sha256: bytes
        fields = HEADER.unpack_from(head)
        (_, self.version, _, _, _, *sections, n_tensors, self._source_sha256, self._header_sha256) = fields
        metadata, directory, names, table = zip(sections[::2], sections[1::2], strict=True)
        self._check_sections(metadata, directory, names, table, n_tensors)
        # From the beginning of the file, so that errors name the byte there.
        cursor = Cursor(self.path, head[: metadata[0] + metadata[1]])
        cursor.pos = metadata[0]
        self.metadata: dict[str, MetadataValue] = read_metadata(cursor)
        self.extents = tuple(
            ExtentInfo(*EXTENT_ENTRY.unpack_from(head, at))
            for at in range(table[0], table[0] + table[1], EXTENT_ENTRY.size)
        )
        for extent, at in enumerate(self.extents):
            if not len(head) <= at.offset <= at.offset + at.n_bytes <= self.n_bytes:
                raise self.wrong(
                    f"extent {extent}", "a place in the file, after the head", f"{at.n_bytes} bytes at {at.offset}"
                )
        self.config_fields: tuple[int | float, ...] = CONFIG.unpack_from(head, CONFIG_OFFSET)
        """The configuration in the header, which `check_config` compares with that of the metadata."""
        self.places: dict[str, tuple[int, int, int]] = {}
        """Extent, offset there, and bytes of each tensor."""
        self.tensors: dict[str, TensorInfo] = {}
        for i in range(n_tensors):
            self._add_tensor(TENSOR_ENTRY.unpack_from(head, directory[0] + i * TENSOR_ENTRY.size), names, head)

    def __repr__(self) -> str:
        """Show the path and what is in the file."""
        return f"ImageFile({str(self.path)!r}: {len(self.metadata)} keys, {len(self.tensors)} tensors)"

    def wrong(self, what: str, expected: object, got: object) -> ModelFormatError:
        """Make the error for a number of the head that cannot be."""
        remedy = "the file is cut off or damaged: pack or download it again"
        return format_error(self.path, None, what, str(expected), str(got), remedy)

    def _read_head(self) -> bytes:
        header = self._file.head(HEADER_BYTES)
        if header[:8] != MAGIC:
            remedy = "this is not an .axiom image; make one with `axiom pack`"
            raise format_error(self.path, 0, "magic", repr(MAGIC), repr(header[:8]), remedy)
        if len(header) < HEADER_BYTES:
            raise self.wrong("length of the file", f"{HEADER_BYTES} bytes or more", len(header))
        _, version, _, n_file, n_head, *_ = HEADER.unpack_from(header)
        if version != VERSION:
            remedy = "update the program, or pack the model again"
            raise format_error(self.path, 8, "version", f"{VERSION}, which this program reads", str(version), remedy)
        if n_file != self.n_bytes:
            raise self.wrong("length of the file", f"{n_file} bytes", self.n_bytes)
        if not HEADER_BYTES <= n_head <= min(n_file, _MOST_HEAD) or n_head % HEADER_BYTES:
            expected = f"a multiple of {HEADER_BYTES} up to {min(n_file, _MOST_HEAD)}"
            raise self.wrong("length of the head", expected, n_head)
        rest = self._file.read(HEADER_BYTES, n_head - HEADER_BYTES)
        if image_digest(header[:ROOT_OFFSET] + rest) != header[ROOT_OFFSET:]:
            raise self.wrong("digest of the head", header[ROOT_OFFSET:].hex()[:16], "another")
        return header + rest

    def _check_sections(
        self, metadata: _Place, directory: _Place, names: _Place, table: _Place, n_tensors: int
    ) -> None:
        """Check that every section lies in the head, and that those of entries hold whole ones."""
        sections = {"metadata": metadata, "directory": directory, "names": names, "extents": table}
        for name, (offset, n_bytes) in sections.items():
            if offset < HEADER_BYTES or offset + n_bytes > self.n_head:
                expected = f"a place in the head, from {HEADER_BYTES} to {self.n_head}"
                raise self.wrong(f"section of the {name}", expected, f"{n_bytes} bytes at {offset}")
        if directory[1] != n_tensors * TENSOR_ENTRY.size:
            raise self.wrong(
                "length of the directory", f"{n_tensors} entries of {TENSOR_ENTRY.size} bytes", directory[1]
            )
        if table[1] % EXTENT_ENTRY.size:
            raise self.wrong("length of the table of extents", f"entries of {EXTENT_ENTRY.size} bytes", table[1])

    def check_config(self, expected: dict[str, int | float]) -> None:
        """Raise `ModelFormatError` unless the configuration in the header is `expected`, that of the metadata, by name.

        An engine computes from the first; tokens, names and everything above an engine come from the second. Two models
        in one file would give other bits in one body than in the other.
        """
        for (name, number), got in zip(expected.items(), self.config_fields, strict=True):
            if number != got:
                raise self.wrong(f"{name} of the configuration", f"{number}, as the metadata say", got)

    def _add_tensor(self, entry: tuple[int, ...], names: _Place, head: bytes) -> None:
        start, length, code, extent, rows, cols, offset, n_bytes = entry
        name = head[names[0] + start : names[0] + start + length].decode("utf-8", "replace")
        if start + length > names[1] or extent >= len(self.extents) or name in self.tensors:
            raise self.wrong(f"tensor {name!r}", "a name of its own and an extent of the image", f"extent {extent}")
        try:
            form = TensorFormat(code)
        except ValueError:
            raise self.wrong(f"format of {name!r}", "a known one", code) from None
        if not rows or not cols or cols % form.block_weights:
            expected = f"rows of whole blocks of {form.block_weights} ({form.name})"
            raise self.wrong(f"shape of {name!r}", expected, f"{rows} x {cols}")
        is_vector = rows == 1 and form is TensorFormat.F32 and n_bytes == 4 * cols
        shape = (cols,) if is_vector else (rows, cols)
        self.places[name] = (extent, offset, n_bytes)
        self.tensors[name] = TensorInfo(
            name, form, shape, 0, self.extents[extent].offset + offset, rows * form.row_bytes(cols)
        )

    def tensor_data(self, name: str) -> npt.NDArray[np.uint8]:
        """Return the bytes of tensor `name` as a GGUF file has them, read and unpacked by the reference body."""
        import numpy as np

        from axiom.reference.format import format_named

        info = named_tensor(self.tensors, name, self.path)
        extent, offset, n_bytes = self.places[name]
        packed = self._extent(extent)[offset : offset + n_bytes]
        if len(info.shape) == 1:
            return np.frombuffer(packed, np.uint8)
        rows, cols = info.shape
        return format_named(info.format.name).unpack(bytes(packed), rows, cols).reshape(-1)

    def _extent(self, extent: int) -> memoryview:
        """Read an extent and check its digest. The latest one is kept, since tensors are read in order."""
        if self._kept is not None and self._kept[0] == extent:
            return memoryview(self._kept[1])
        data = self.read_extent(extent)
        if image_digest(data) != self.extents[extent].digest:
            raise self.wrong(f"extent {extent}", "the digest that it was packed with", "another")
        self._kept = (extent, data)
        return memoryview(data)

    def read_extent(self, extent: int) -> bytes:
        """Return the bytes of an extent, as they are. Raises as `OpenFile.read`."""
        at = self.extents[extent]
        return self._file.read(at.offset, at.n_bytes)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Iterator[tuple[int, bool]]:
        """Yield each extent and whether its digest is right. `progress(n_done, n_bytes)` counts bytes read.

        Raises `ModelFormatError` if the extents are not those of the model: an extent is read whole, and nothing else
        bounds it.
        """
        from axiom.model_file.model_config import ModelConfig
        from axiom.reference.image import check_layout

        check_layout(self, ModelConfig.from_gguf(self))
        done, total = 0, sum(at.n_bytes for at in self.extents)
        for extent, at in enumerate(self.extents):
            right = image_digest(self.read_extent(extent)) == at.digest
            done += at.n_bytes
            if progress is not None:
                progress(done, total)
            yield extent, right

    def padding_is_zero(self) -> bool:
        """Whether everything between and after the extents is zero, as it was packed."""
        ends = [self.n_head, *(at.offset + at.n_bytes for at in self.extents)]
        starts = [*(at.offset for at in self.extents), self.n_bytes]
        gaps = zip(ends, starts, strict=True)
        return all(end <= start and self._is_zero(end, start) for end, start in gaps)

    def _is_zero(self, start: int, end: int) -> bool:
        # In steps: the head may claim a gap of any length, and a file with holes have it.
        for at in range(start, end, _STEP_BYTES):
            n_bytes = min(_STEP_BYTES, end - at)
            if self._file.read(at, n_bytes) != bytes(n_bytes):
                return False
        return True

    def release_extent(self) -> None:
        """Give back the extent that was kept."""
        self._kept = None

    def check_in_place(self) -> None:
        """Raise `ModelFormatError` if another image has its path now: for whoever opened that by its path."""
        if OpenFile(self.path).head(HEADER_BYTES)[ROOT_OFFSET:] != self.root:
            raise ModelFormatError(
                f"{self.path.name}: expected the image that was opened, got another: another program has replaced or "
                "rewritten it; open it again"
            )

    def header_digest(self) -> bytes:
        """Return `GGUFFile.header_digest` of the GGUF that this was packed from."""
        return self._header_sha256

    def digest(self, progress: Callable[[int, int], None] | None = None) -> str:
        """Return `GGUFFile.digest` of the GGUF that this was packed from, as the packer noted it.

        It names the same model. That the weights here are still those is what the image's own digests say.
        """
        return self._source_sha256.hex()
