"""A GGUF model on disk: its checked header, in one file or in parts, and where its tensors are.

Everything the header says is a claim: each number is checked against the file before it is used, and no allocation is
sized by a number that was not. Whatever the bytes, the outcome is a `GGUFFile` or a `ModelFormatError`. The header
alone is read; weights stay on disk until they are asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from axiom.files import checked_path, sha256
from axiom.model_file.gguf_cursor import MetadataValue, StringArray, format_error
from axiom.model_file.gguf_header import Part, TensorInfo, named_tensor, read_part
from axiom.model_file.open_file import FileBytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["GGUFFile", "MetadataValue", "StringArray", "TensorInfo"]

_MAX_PARTS = 1 << 12


class GGUFFile:
    """The header of a GGUF model, in one file or split in parts, and its tensors.

    Raises `ModelFormatError` if the header is not sound, `OSError` if a file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Read and check the header at `path`; of a split model, `path` is the first part."""
        first = read_part(checked_path(path, "model"), 0)
        self.path: Path = first.path
        self.version: int = first.version
        self.alignment: int = first.alignment
        self.metadata: dict[str, MetadataValue] = first.metadata
        parts = [first, *_other_parts(first)]
        self.paths: tuple[Path, ...] = tuple(part.path for part in parts)
        self._parts = parts
        self.tensors: dict[str, TensorInfo] = {}
        for part in parts:
            for name, info in part.tensors.items():
                if name in self.tensors:
                    raise format_error(
                        part.path,
                        info.offset,
                        f"tensor {name!r}",
                        "each tensor in one part only",
                        f"it again, after {self.paths[self.tensors[name].part].name}",
                    )
                self.tensors[name] = info
        expected = first.metadata.get("split.tensors.count")
        if isinstance(expected, int) and expected != len(self.tensors):
            raise format_error(
                self.path, None, "split.tensors.count", f"{expected} tensors in all parts", str(len(self.tensors))
            )
        self._header_sha256 = self._read_header_digest()

    def __repr__(self) -> str:
        """Show the path and what is in the file."""
        return f"GGUFFile({str(self.path)!r}: {len(self.metadata)} keys, {len(self.tensors)} tensors)"

    @property
    def n_bytes(self) -> int:
        """Bytes of all parts together."""
        return sum(part.file.n_bytes for part in self._parts)

    def tensor_data(self, name: str) -> npt.NDArray[np.uint8]:
        """Read the bytes of tensor `name` into a read-only uint8 array. Raises `ValueError` if there is none."""
        import numpy as np

        return np.frombuffer(self.tensor_place(name).read(), np.uint8)

    def tensor_place(self, name: str) -> FileBytes:
        """Return where the bytes of tensor `name` are, to read them piece by piece. Raises `ValueError` if none is."""
        info = named_tensor(self.tensors, name, self.path)
        return FileBytes(self._parts[info.part].file, info.offset, info.n_bytes)

    def raw_metadata(self) -> tuple[int, bytes]:
        """Return the number of key-values of the first part, and their bytes as the file has them."""
        part = self._parts[0]
        return part.n_keys, part.file.read(part.keys[0], part.keys[1] - part.keys[0])

    def check_unchanged(self) -> None:
        """Raise `ModelFormatError` if a file was written to since it was opened, by what its system says."""
        for part in self._parts:
            part.file.check_unchanged()

    def header_digest(self) -> bytes:
        """SHA-256 over everything before the tensor data, of all parts: metadata, vocabulary and directory.

        It tells models apart quickly, though not two with the same header and other weights. It is that of the file
        which was opened, whatever has been written to that since.
        """
        return self._header_sha256

    def _read_header_digest(self) -> bytes:
        sha = sha256()
        for part in self._parts:
            sha.update(part.file.read(0, part.n_header_bytes))
        self.check_unchanged()
        return sha.digest()

    def digest(self, progress: Callable[[int, int], None] | None = None) -> str:
        """SHA-256 over all bytes of all parts in order, as lower-case hexadecimal.

        It reads every byte (a few seconds for some GB) and is used where a model must be named beyond doubt.
        `progress(n_done, n_bytes)` is called as the hash goes on.
        """
        sha = sha256()
        step = 1 << 24
        done, total = 0, self.n_bytes
        for part in self._parts:
            for start in range(0, part.file.n_bytes, step):
                chunk = part.file.read(start, min(step, part.file.n_bytes - start))
                sha.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
        self.check_unchanged()
        return sha.hexdigest()


_PART_NAME = re.compile(r"(?P<stem>.*)-(?P<no>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)


def _other_parts(first: Part) -> Iterator[Part]:
    """Read the parts after the first of a split model, and check that each is the part that its name says."""
    count = _split_number(first, "split.count", 1)
    number = _split_number(first, "split.no", 0)
    name = _PART_NAME.fullmatch(first.path.name)
    if number != 0:
        prefix: str = name["stem"] if name else "…"
        remedy = f"open the first part, {prefix}-00001-of-{count:05}.gguf"
        raise format_error(first.path, None, "split.no", "0, the first part", str(number), remedy)
    if count <= 1:
        return
    if count > _MAX_PARTS:
        raise format_error(first.path, None, "split.count", f"at most {_MAX_PARTS}", str(count))
    if name is None or int(name["no"]) != 1 or int(name["count"]) != count:
        expected = f"a name that ends in -00001-of-{count:05}.gguf, since the model has {count} parts"
        raise format_error(first.path, None, "file name", expected, first.path.name, "give the parts their names back")
    stem: str = name["stem"]
    for part_idx in range(1, count):
        path = first.path.with_name(f"{stem}-{part_idx + 1:05}-of-{count:05}.gguf")
        try:
            part = read_part(path, part_idx)
        except FileNotFoundError as error:
            remedy = f"; part {part_idx + 1} of {count} of {first.path.name} is missing: put it beside the first"
            raise FileNotFoundError(error.errno, f"{error.strerror}{remedy}", str(path)) from None
        if (_split_number(part, "split.no", -1), _split_number(part, "split.count", -1)) != (part_idx, count):
            got = f"split.no {part.metadata.get('split.no')!r}, split.count {part.metadata.get('split.count')!r}"
            raise format_error(path, None, "part", f"split.no {part_idx}, split.count {count}", got)
        yield part


def _split_number(part: Part, key: str, absent: int) -> int:
    value = part.metadata.get(key, absent)
    if isinstance(value, bool) or not isinstance(value, int):
        raise format_error(part.path, None, key, "an integer", type(value).__name__)
    return value
