"""`axiom.pack`: from a GGUF to an `.axiom` image, an extent at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from axiom.arguments import function, integer
from axiom.body import Backend, host_backend, load_body
from axiom.files import checked_path, checked_target, whole_file
from axiom.model_file.gguf_file import GGUFFile
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.image_file import (
    CONFIG,
    CONFIG_OFFSET,
    EXTENT_ENTRY,
    HEADER,
    HEADER_BYTES,
    MAGIC,
    ROOT_OFFSET,
    TENSOR_ENTRY,
    VERSION,
    image_digest,
)
from axiom.model_file.model_config import ModelConfig, TensorSpec
from axiom.model_file.model_file import ModelFile, open_model
from axiom.model_file.tensor_source import tensor_array, tensor_source, unchanged
from axiom.reference.format import format_named
from axiom.reference.image import EXTENT_ALIGN, Layout, model_layout

__all__ = ["pack"]


def pack(
    model: str | os.PathLike[str] | GGUFFile,
    image: str | os.PathLike[str],
    *,
    backend: Backend = "native",
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Pack the GGUF at `model` (the first part, if split), or one that is open, into an image, and return its path.

    The image is written beside its place and moved there when it is whole and on the disk. `backend="reference"` packs
    the same bytes in numpy. `on_progress(n_done, n_bytes)` counts bytes of weights. Raises `ModelFormatError` or
    `UnsupportedModelError` for a model that could not be run, and `OSError` where a file cannot be read or written.
    """
    backend = host_backend(backend)
    load_body(backend)
    if threads is not None:
        threads = integer("threads", threads)
    function("on_progress", on_progress)
    gguf = model if isinstance(model, ModelFile) else open_model(checked_path(model, "model"))
    if not isinstance(gguf, GGUFFile):
        raise ValueError(f"{gguf.path.name}: expected a GGUF, got an image, which is packed already; use it as it is")
    config = ModelConfig.from_gguf(gguf)
    layout = model_layout(config, config.tensors)
    checked_target(image, *gguf.paths, is_image=True)
    sections = _Sections(gguf, config, layout)
    digests: list[bytes] = []
    done, total = 0, sum(layout.extents)
    with whole_file(image, *gguf.paths, is_image=True) as file, unchanged(gguf):
        file.truncate(sections.n_file)
        for extent, n_bytes in enumerate(layout.extents):
            packed = _packed_extent(gguf, layout, extent, n_bytes, backend, threads)
            digests.append(image_digest(packed))
            file.seek(sections.offsets[extent])
            file.write(packed.data)
            done += n_bytes
            if on_progress is not None:
                on_progress(done, total)
        head = sections.head(digests)
        file.seek(0)
        file.write(head)
    return Path(image)


def _packed_extent(
    gguf: GGUFFile, layout: Layout, extent: int, n_bytes: int, backend: Backend, threads: int | None
) -> npt.NDArray[np.uint8]:
    packed = np.zeros(n_bytes, np.uint8)
    for at in layout.tensors:
        if at.extent == extent:
            room = packed[at.offset : at.offset + at.n_bytes]
            if backend == "native" and not at.spec.is_vector:
                _pack_natively(gguf, at.spec, room, threads)
                continue
            _, form, rows, cols, stored = tensor_array(gguf, at.spec)
            if at.spec.is_vector:
                room[:] = stored
            else:
                rows_of = stored.reshape(rows, -1)
                room[:] = np.frombuffer(format_named(form).pack(rows_of, cols), np.uint8)
    return packed


def _pack_natively(gguf: GGUFFile, spec: TensorSpec, room: npt.NDArray[np.uint8], threads: int | None) -> None:
    from axiom._native import pack_matrix

    pack_matrix(tensor_source(gguf, spec), room, threads)


class _Sections:
    """Everything of an image but its extents, and where all of it lies."""

    def __init__(self, gguf: GGUFFile, config: ModelConfig, layout: Layout):
        self._config, self._layout = config, layout
        self._source, self._header = bytes.fromhex(gguf.digest()), gguf.header_digest()
        n_keys, pairs = gguf.raw_metadata()
        self._metadata = n_keys.to_bytes(8, "little") + pairs
        names = [at.spec.name.encode() for at in layout.tensors]
        self._names = b"".join(names)
        self._starts = np.concatenate([[0], np.cumsum([len(name) for name in names])]).tolist()
        sizes = [
            len(self._metadata),
            TENSOR_ENTRY.size * len(names),
            len(self._names),
            EXTENT_ENTRY.size * len(layout.extents),
        ]
        at = HEADER_BYTES
        self._places: list[tuple[int, int]] = []
        for size in sizes:
            self._places.append((at, size))
            at = _rounded(at + size, 64)
        self.n_head = _rounded(at, EXTENT_ALIGN)
        ends = np.cumsum([self.n_head, *layout.extents]).tolist()
        self.offsets: list[int] = ends[:-1]
        self.n_file: int = ends[-1]

    def head(self, digests: list[bytes]) -> bytes:
        """Return the head, with the digests of the extents and of itself."""
        head = bytearray(self.n_head)
        (metadata, _), (directory, _), (names, _), (table, _) = self._places
        places = [number for place in self._places for number in place]
        n_tensors = len(self._layout.tensors)
        HEADER.pack_into(
            head, 0, MAGIC, VERSION, 0, self.n_file, self.n_head, *places, n_tensors, self._source, self._header
        )
        CONFIG.pack_into(head, CONFIG_OFFSET, *self._config.as_numbers().values())
        head[metadata : metadata + len(self._metadata)] = self._metadata
        head[names : names + len(self._names)] = self._names
        for i, at in enumerate(self._layout.tensors):
            start, end = self._starts[i : i + 2]
            entry = (
                start,
                end - start,
                _stored_format(at.spec),
                at.extent,
                at.spec.rows,
                at.spec.cols,
                at.offset,
                at.n_bytes,
            )
            TENSOR_ENTRY.pack_into(head, directory + i * TENSOR_ENTRY.size, *entry)
        for i, (offset, n_bytes, digest) in enumerate(zip(self.offsets, self._layout.extents, digests, strict=True)):
            EXTENT_ENTRY.pack_into(head, table + i * EXTENT_ENTRY.size, offset, n_bytes, digest)
        head[ROOT_OFFSET:HEADER_BYTES] = image_digest(bytes(head[:ROOT_OFFSET]) + bytes(head[HEADER_BYTES:]))
        return bytes(head)


def _stored_format(spec: TensorSpec) -> int:
    return (TensorFormat.F32 if spec.is_vector else spec.format).value


def _rounded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
