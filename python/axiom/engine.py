"""The one place where the bodies meet: what an engine can do.

`Engine` is a protocol. `axiom._native.Engine` (Rust), `axiom.reference.Engine` (numpy) and `axiom.bare.engine.Engine`
(Rust, in a virtual machine without an operating system) fulfil it with the same results to the last bit, and everything
above, from `Runtime` to the command line, is written once over it. `axiom.opening` opens one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FIELDS", "Engine", "LogitRow", "LogitRows", "Logits", "StopFlag"]

LogitRows = Literal["last", "all", "none"] | Sequence[int]

FIELDS = (
    "pass",
    "layer",
    "n_token",
    "start_us",
    "stream_us",
    "rms_us",
    "attn_us",
    "ffn_proj_us",
    "ffn_act_us",
    "ffn_down_us",
    "output_us",
    "layer_us",
    "load_start_us",
    "load_end_us",
    "bytes_read",
    "n_deferred",
)
"""The columns of `Engine.take_records` (`axiom.telemetry`)."""


class LogitRow(Protocol):
    """The logits after one position, f32 `[n_vocab]`, as samplers take them; `numpy.asarray` makes an array."""

    def __len__(self) -> int:
        """Count the vocabulary."""
        ...

    def __array__(self) -> npt.NDArray[np.float32]:
        """Return them as an array."""
        ...


class Logits(Protocol):
    """Logits after some positions, f32 `[n_rows, n_vocab]`: a list of rows, of which `numpy.asarray` makes an array."""

    def __len__(self) -> int:
        """Count the rows."""
        ...

    def __iter__(self) -> Iterator[LogitRow]:
        """Yield the rows in order."""
        ...

    @overload
    def __getitem__(self, index: int, /) -> LogitRow: ...
    @overload
    def __getitem__(self, index: slice, /) -> Logits: ...
    def __getitem__(self, index: int | slice, /) -> LogitRow | Logits:
        """Return one row, or some that follow each other."""
        ...

    def __array__(self) -> npt.NDArray[np.float32]:
        """Return them as an array."""
        ...


class StopFlag(Protocol):
    """Asks a pass to stop at the next layer boundary: when it is set, or after the time that it was made for."""

    def set(self) -> None:
        """Stop now. May be called from any thread."""
        ...

    def is_set(self) -> bool:
        """Return whether it has been set, or its time is over."""
        ...


class Engine(Protocol):
    """A model loaded into one body: sequences of positions, and the forward pass that appends to them.

    A sequence is named by a small integer. Not thread-safe; `axiom.Runtime` holds a lock around it.
    """

    @property
    def n_ctx(self) -> int:
        """Most positions of one sequence."""
        ...

    @property
    def n_vocab(self) -> int:
        """Length of a row of logits."""
        ...

    @property
    def n_seq_max(self) -> int:
        """Most sequences at a time."""
        ...

    def seq_new(self) -> int:
        """Open an empty sequence. Raises `MemoryBudgetError` when all `n_seq_max` are taken."""
        ...

    def seq_free(self, seq: int, /) -> None:
        """Close a sequence and free its positions."""
        ...

    def seq_fork(self, seq: int, /) -> int:
        """Open a new sequence with the same positions as `seq`; later appends to either leave the other alone."""
        ...

    def seq_len(self, seq: int, /) -> int:
        """Count the positions of a sequence."""
        ...

    def seq_rewind(self, seq: int, n_pos: int, /) -> None:
        """Keep the first `n_pos` positions."""
        ...

    def seq_save(self, seq: int, /) -> bytes:
        """Return the state of a sequence, the same bytes from every body."""
        ...

    def seq_save_parts(self, seq: int, /) -> tuple[int, Iterator[bytes]]:
        """Return how many bytes `seq_save` returns, and these in parts, each made when it is asked for.

        The sequence must not be closed or rewound before the last.
        """
        ...

    def seq_load(self, state: bytes, /) -> int:
        """Open a new sequence from what `seq_save` returned.

        Raises `ValueError` if that is damaged or of another model.
        """
        ...

    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: LogitRows = "last",
        out: npt.NDArray[np.float32] | None = None,
        stop: Any = None,
    ) -> Logits:
        """Append `tokens[i]` to sequence `seqs[i]` for every i, in one pass; return logits, f32 `[n_rows, n_vocab]`.

        Rows are the last position of each sequence in the order of `seqs` ("last"), every new position in the same
        order ("all"), none ("none"), or the last `logits[i]` new positions of `seqs[i]`. If the array `out` is given,
        they are written to it, and it is returned. The bits of a row do not depend on what else is in the pass. Ctrl-C
        is honoured at layer boundaries, and so is `stop`, a flag of the same body, with `PassStopped`; every sequence
        then has the positions that it had before.
        """
        ...

    @property
    def is_streamed(self) -> bool:
        """Whether some of the weights are read from the disk for every pass, for want of memory."""
        ...

    def telemetry(self) -> dict[str, Any]:
        """Return times and counts of the passes so far."""
        ...

    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the records of the layers since the last call, uint64 `[n, 16]`, and how many before were lost.

        `FIELDS` names the columns.
        """
        ...

    def info(self) -> dict[str, Any]:
        """Return what was chosen at start: kernel table, threads, bytes."""
        ...

    def close(self) -> None:
        """Free everything. Closing twice does nothing."""
        ...
