"""The bare body of `axiom.engine.Engine`: the core in a kernel of its own, in a virtual machine driven by calls.

The machine computes; here are checks, the cutting of long passes into requests, and what is known of each sequence.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from axiom.bare.protocol import Kind, Reader
from axiom.bare.qemu import Disk, Machine, accelerator
from axiom.bare.serving import ServingMachine
from axiom.engine import FIELDS, LogitRows, StopFlag
from axiom.errors import PassStopped
from axiom.pass_arguments import check_out, checked_counts, checked_tokens_of

__all__ = ["Engine"]

# Most sequences and most tokens of one request: `bootkernel/src/serving.rs`.
N_APPEND_MAX = 64
N_TOKEN_MAX = 1 << 15
# Bytes of logits that a request may ask for, if that is more than a row for each sequence.
_LOGIT_BYTES = 16 << 20
_NUMBER = struct.Struct("<Q")
_TIMES = ("stream_us", "rms_us", "attn_us", "ffn_proj_us", "ffn_act_us", "ffn_down_us", "layer_us")
_COUNTS = (
    "n_pass",
    "n_token",
    "pass_us",
    "output_us",
    "bytes_read",
    "n_request",
    "n_retry",
    "n_stall",
    "n_deferred",
    "longest_deferral_us",
)


class Engine:
    """The model of an image, opened by a machine that this object owns."""

    def __init__(
        self,
        image: Path,
        *,
        n_vocab: int,
        n_ctx: int,
        n_seq_max: int,
        memory_mib: int,
        n_core: int = 1,
        kernels: str | None = None,
        kv: Literal["f16", "f32"] = "f16",
        budget: int | None = None,
        rows_per_pass: int = 256,
        paranoid: bool = False,
        progress: Callable[[int, int], None] | None = None,
        accelerated_by: str | None = None,
        board: Literal["microvm", "q35"] = "microvm",
    ) -> None:
        """Start a machine with `memory_mib` of memory and `n_core` cores, and let it open the image.

        `budget` bounds the bytes of weights, cache and activations in it; None leaves all that is free. `kernels` and
        `accelerated_by` (`kvm` or `tcg`) force what is else chosen.
        """
        options = {"serve": "1"} if kernels is None else {"serve": "1", "kernels": kernels}
        kind = accelerated_by or accelerator()
        disk = Disk(image, "virtio-mmio" if board == "microvm" else "virtio-pci")
        machine = Machine(options, board, memory_mib, n_core, kind, disks=[disk])
        self._machine = ServingMachine(machine)
        self._closed = False
        self._accelerator, self._memory_mib = kind, memory_mib
        self._lengths: dict[int, int] = {}
        n_rows = max(n_seq_max, min(256, _LOGIT_BYTES // (4 * n_vocab)), 1)
        request = struct.pack(
            "<5QII", n_ctx, n_seq_max, rows_per_pass, n_rows, budget or 0, 2 if kv == "f16" else 4, paranoid
        )
        try:
            opened = self._machine.call(Kind.OPEN, request, on_progress=progress)
        except BaseException:
            self._machine.close()
            raise
        info = _info(opened)
        self.n_ctx, self.n_vocab, self.n_seq_max = info["n_ctx"], info["n_vocab"], info["n_seq_max"]
        self._n_rows_max = n_rows

    @property
    def machine(self) -> ServingMachine:
        """The machine that it runs in."""
        return self._machine

    # Sequences

    def seq_new(self) -> int:
        """Open an empty sequence."""
        return self._opened(Kind.SEQ_NEW, b"", 0)

    def seq_free(self, seq: int, /) -> None:
        """Close a sequence and free its positions."""
        self._length(seq)
        self._call(Kind.SEQ_FREE, _NUMBER.pack(seq))
        del self._lengths[seq]

    def seq_fork(self, seq: int, /) -> int:
        """Open a new sequence with the same positions as `seq`."""
        n_pos = self._length(seq)
        return self._opened(Kind.SEQ_FORK, _NUMBER.pack(seq), n_pos)

    def seq_len(self, seq: int, /) -> int:
        """Count the positions of a sequence."""
        self._length(seq)
        return Reader(self._call(Kind.SEQ_LEN, _NUMBER.pack(seq))).u64()

    def seq_rewind(self, seq: int, n_pos: int, /) -> None:
        """Keep the first `n_pos` positions."""
        length = self._length(seq)
        if not 0 <= n_pos <= length:
            raise ValueError(f"sequence {seq}: expected n_pos in 0 ... {length}, its length, got {n_pos}")
        self._call(Kind.SEQ_REWIND, _NUMBER.pack(seq) + _NUMBER.pack(n_pos))
        self._lengths[seq] = int(n_pos)

    def seq_save(self, seq: int, /) -> bytes:
        """Return the state of a sequence (docs/formats.md)."""
        self._length(seq)
        return self._call(Kind.SEQ_SAVE, _NUMBER.pack(seq))

    def seq_save_parts(self, seq: int, /) -> tuple[int, Iterator[bytes]]:
        """Return the bytes of the state, and the state, which the machine sends as one."""
        state = self.seq_save(seq)
        return len(state), iter((state,))

    def seq_load(self, state: bytes, /) -> int:
        """Open a new sequence from what `seq_save` returned, here or in another body."""
        seq = self._opened(Kind.SEQ_LOAD, _NUMBER.pack(len(state)) + state, 0)
        self._lengths[seq] = self.seq_len(seq)
        return seq

    def _opened(self, kind: Kind, payload: bytes, n_pos: int) -> int:
        seq = Reader(self._call(kind, payload)).u64()
        self._lengths[seq] = n_pos
        return seq

    def _length(self, seq: int) -> int:
        self._check_open()
        if seq not in self._lengths:
            n = len(self._lengths)
            raise ValueError(f"sequence {seq!r} is not open ({n} are); use the number that opening it returned")
        return self._lengths[seq]

    # The forward pass

    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: LogitRows = "last",
        out: npt.NDArray[np.float32] | None = None,
        stop: StopFlag | None = None,
    ) -> npt.NDArray[np.float32]:
        """Append `tokens[i]` to sequence `seqs[i]` for every i; return logits, f32 `[n_rows, n_vocab]`.

        If it raises, every sequence has the positions that it had.
        """
        self._check_open()
        new = checked_tokens_of(seqs, tokens, self.n_vocab, self._length)
        n_logit = checked_counts(logits, seqs, new)
        shape = (sum(n_logit), self.n_vocab)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            check_out(out, shape)
        if stop is not None and stop.is_set() and new:
            raise PassStopped("the pass was stopped before its end, as asked; the sequences are as they were")
        before = {seq: self._lengths[seq] for seq in seqs}
        n_done = 0
        try:
            for request, added in self._requests(seqs, new, n_logit):
                rows = np.frombuffer(self._call(Kind.FORWARD, request, stop=stop), "<f4").reshape(-1, self.n_vocab)
                out[n_done : n_done + len(rows)] = rows
                n_done += len(rows)
                for seq, n in added:
                    self._lengths[seq] += n
        except BaseException:
            self._restore(before)
            raise
        return out

    def _requests(
        self, seqs: Sequence[int], new: Sequence[npt.NDArray[np.int64]], n_logit: Sequence[int]
    ) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Cut a pass into requests that the machine has room for, each with what it appends to which sequence.

        The bits do not depend on where it is cut.
        """
        parts: list[tuple[int, npt.NDArray[np.int64], int]] = []
        n_token = n_row = 0
        for seq, ids, n in zip(seqs, new, n_logit, strict=True):
            done = 0
            while done < len(ids):
                if len(parts) == N_APPEND_MAX or n_token == N_TOKEN_MAX or n_row == self._n_rows_max:
                    yield _request(parts)
                    parts, n_token, n_row = [], 0, 0
                # Rows are wanted from position `first` on.
                first = len(ids) - n
                end = min(len(ids), done + N_TOKEN_MAX - n_token, max(done, first) + self._n_rows_max - n_row)
                rows = max(0, end - max(done, first))
                parts.append((seq, ids[done:end], rows))
                n_token, n_row, done = n_token + end - done, n_row + rows, end
                if done < len(ids):
                    yield _request(parts)
                    parts, n_token, n_row = [], 0, 0
        if parts:
            yield _request(parts)

    def _restore(self, lengths: dict[int, int]) -> None:
        """Take back what a pass has appended before it failed."""
        # If the machine has ended there is nothing to take back.
        with contextlib.suppress(Exception):
            for seq, n_pos in lengths.items():
                if self.seq_len(seq) > n_pos:
                    self._call(Kind.SEQ_REWIND, _NUMBER.pack(seq) + _NUMBER.pack(n_pos))
                self._lengths[seq] = n_pos

    # What it is and did

    def telemetry(self) -> dict[str, Any]:
        """Return times, in microseconds, and counts of the passes so far."""
        numbers = np.frombuffer(self._call(Kind.TELEMETRY), "<u8").tolist()
        counts = dict(zip(_COUNTS, numbers, strict=False))
        rows = np.reshape(numbers[len(_COUNTS) :], (-1, len(_TIMES))).astype(int).tolist()
        return {**counts, "layers": [dict(zip(_TIMES, row, strict=True)) for row in rows]}

    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Return the records of the layers since the last call, and how many before were lost."""
        payload = self._call(Kind.RECORDS)
        numbers = np.frombuffer(payload, "<u8")
        return numbers[1:].reshape(-1, len(FIELDS)).astype(np.uint64), int(numbers[0])

    @property
    def is_streamed(self) -> bool:
        """Whether some of the weights are read from the machine's disk for every pass."""
        return bool(self.info()["bytes_streamed"])

    def info(self) -> dict[str, Any]:
        """Return what was chosen at start and the bytes that are held."""
        info = _info(self._call(Kind.INFO))
        machine = {"accelerator": self._accelerator, "memory_mib": self._memory_mib}
        return {"backend": "bare", **info, **machine, "clock_khz": self._machine.greeting.clock_khz}

    def close(self) -> None:
        """End the machine. Closing twice does nothing."""
        self._closed = True
        self._machine.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this engine is closed; open the model again")

    def _call(self, kind: Kind, payload: bytes = b"", *, stop: StopFlag | None = None) -> bytes:
        self._check_open()
        return self._machine.call(kind, payload, stop=stop)


def _request(parts: Sequence[tuple[int, npt.NDArray[np.int64], int]]) -> tuple[bytes, list[tuple[int, int]]]:
    heads = [struct.pack("<3I", seq, len(ids), rows) for seq, ids, rows in parts]
    ids = [ids.astype("<u4").tobytes() for _, ids, _ in parts]
    return b"".join((struct.pack("<I", len(parts)), *heads, *ids)), [(seq, len(ids)) for seq, ids, _ in parts]


_INFO = (
    "n_ctx",
    "n_vocab",
    "n_seq_max",
    "threads",
    "bytes_number",
    "bytes_weights",
    "bytes_kv",
    "bytes_kv_reserved",
    "bytes_activations",
    "bytes_streamed",
    "n_layer_pinned",
    "n_row_max",
    "bytes_free",
    "n_allocation",
    "n_allocation_in_passes",
)


def _info(payload: bytes) -> dict[str, Any]:
    reader = Reader(payload)
    info: dict[str, Any] = {name: reader.u64() for name in _INFO}
    info["kv"] = "f16" if info.pop("bytes_number") == 2 else "f32"
    info["kernels"] = reader.text()
    return info
