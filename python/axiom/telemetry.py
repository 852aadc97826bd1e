"""What every layer of every pass took, as a table in a file.

A row is one layer of one pass over the weights. Times are in microseconds; `start_us` and the times of a load count
from the same moment. `layer_us` is the sum of its parts. The output head, with the final norm, is the layer after the
last and has its time in `output_us`. `stream_us` is the wait for weights that computing saw, and `load_start_us`,
`load_end_us` and `bytes_read` tell of the latest reading of the layer from a disk; they are 0 where it is resident.
Where the embedding is not in memory, the first layer's `stream_us` has the wait for its rows too, before `start_us`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from axiom.engine import FIELDS
from axiom.files import checked_path, checked_target, named_errors

if TYPE_CHECKING:
    from axiom.loaded_model import LoadedModel

__all__ = ["FIELDS", "TelemetryFile", "read_telemetry"]

_LONGEST_LINE = 1 << 10


class TelemetryFile:
    """Writes the records of a model to a CSV file as they come. Use it as a context manager."""

    def __init__(self, path: str | os.PathLike[str], model: LoadedModel):
        """Open the file, and forget the records of before."""
        self._take: Callable[[], tuple[npt.NDArray[np.uint64], int]] = model.engine.take_records
        self._take()
        checked_target(path, *model.gguf.paths, special=True)
        self._path = path
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115  # closed by __exit__
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(FIELDS)
        self.n_lost = 0
        """Records that were lost because `write` was not called in time."""

    def write(self) -> None:
        """Write the records since the last call. An engine keeps the latest few thousand."""
        records, n_lost = self._take()
        self.n_lost += n_lost
        with named_errors(self._path):
            self._writer.writerows(records.tolist())

    def __enter__(self) -> TelemetryFile:
        """Use it as a context manager: leaving the block closes the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left and close the file."""
        try:
            self.write()
        finally:
            with named_errors(self._path):
                self._file.close()


def read_telemetry(path: str | os.PathLike[str]) -> npt.NDArray[np.int64]:
    """Read a file of `TelemetryFile`: int64 `[n, 16]` with the columns of `FIELDS`. `ValueError` if it is none."""
    path = checked_path(path, "telemetry")
    columns = ",".join(FIELDS)
    with path.open("rb") as file:
        # Any file may be given: no more is read of a line than one of a table has.
        lines = iter(lambda: file.readline(_LONGEST_LINE).decode("utf-8", "replace"), "")
        header = next(lines, "").rstrip("\r\n")
        if header != columns:
            got = repr(header[:60]) if header else "an empty file"
            raise ValueError(f"{path.name}: expected the columns {columns}, got {got}; use `axiom run --telemetry`")
        rows = [_numbers(path.name, i, line.rstrip("\r\n")) for i, line in enumerate(lines, start=2)]
    return np.array(rows, np.int64).reshape(-1, len(FIELDS))


def _numbers(name: str, number: int, line: str) -> list[int]:
    cells = line.split(",")
    if len(cells) != len(FIELDS) or not all(cell.isdecimal() and len(cell) < 19 for cell in cells):
        raise ValueError(f"{name}: line {number}: expected {len(FIELDS)} whole numbers, got {line!r:.200}")
    return [int(cell) for cell in cells]
