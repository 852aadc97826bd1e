"""The reference body of `axiom.engine.Engine`: sequences, checks, and the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from axiom.engine import LogitRows
from axiom.errors import NumericError
from axiom.model_file.model_config import ModelConfig
from axiom.pass_arguments import check_out, checked_counts, checked_tokens_of
from axiom.reference.memory import KVCachePool
from axiom.reference.model.forward import forward
from axiom.reference.model.rope import RopeTable
from axiom.reference.model.weights import Tensor, load_weights
from axiom.reference.stop_flag import StopFlag
from axiom.reference.telemetry import LayerClock, LayerTimes, Telemetry


class Engine:
    """A model in numpy: slow, and the specification of what the other bodies compute.

    `config` is `ModelConfig.as_dict()`; `tensors` are (name, format, rows, cols, bytes). `threads` and `kernels` choose
    among ways to compute the same bits; here there is one, so they are accepted and have no effect.
    """

    def __init__(
        self,
        config: dict[str, Any],
        tensors: Iterable[Tensor],
        *,
        n_ctx: int,
        n_seq_max: int,
        threads: int | None = None,
        kernels: str | None = None,
        kv: str = "f16",
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if n_ctx < 1 or n_seq_max < 1:
            raise ValueError(f"expected n_ctx and n_seq_max of 1 or more, got n_ctx={n_ctx}, n_seq_max={n_seq_max}")
        self.config = ModelConfig(**config, tensors=())
        self.n_ctx, self.n_seq_max, self.n_vocab = n_ctx, n_seq_max, self.config.n_vocab
        self._cache = KVCachePool(self.config, n_ctx, n_seq_max, kv)
        tensors = list(tensors)
        self._bytes_weights = sum(stored.nbytes for *_, stored in tensors)
        self._weights = load_weights(self.config, tensors, progress)
        self._rope = RopeTable(self.config, self._weights.rope_freqs)
        if n_ctx > (most := self._rope.n_position_max):
            raise ValueError(f"n_ctx: expected a number from 1 to {most}, got {n_ctx}")
        self._closed = False
        self._telemetry = Telemetry(layers=[LayerTimes() for _ in range(self.config.n_layer)])

    # Sequences

    def seq_new(self) -> int:
        """Opens an empty sequence."""
        return self._open_cache().open()

    def seq_free(self, seq: int, /) -> None:
        """Closes a sequence and frees its positions."""
        self._open_cache().close(seq)

    def seq_fork(self, seq: int, /) -> int:
        """Opens a new sequence with the same positions; slabs are shared until one of the two writes."""
        return self._open_cache().fork(seq)

    def seq_len(self, seq: int, /) -> int:
        """Counts the positions of a sequence."""
        return self._open_cache().length(seq)

    def seq_rewind(self, seq: int, n_pos: int, /) -> None:
        """Keeps the first `n_pos` positions."""
        self._open_cache().rewind(seq, n_pos)

    def seq_save(self, seq: int, /) -> bytes:
        """Returns the state of a sequence (docs/formats.md)."""
        return self._open_cache().save(seq)

    def seq_save_parts(self, seq: int, /) -> tuple[int, Iterator[bytes]]:
        """Returns the bytes of the state, and its parts: the header, each layer, the checksum."""
        return self._open_cache().bytes_saved(seq), self._open_cache().save_parts(seq)

    def seq_load(self, state: bytes, /) -> int:
        """Opens a new sequence from what `seq_save` returned."""
        return self._open_cache().load(state)

    # The forward pass

    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: LogitRows = "last",
        out: npt.NDArray[np.float32] | None = None,
        stop: StopFlag | None = None,
    ) -> npt.NDArray[np.float32]:
        """Appends tokens[i] to sequence seqs[i] in one pass; returns logits f32 [n_rows, n_vocab].

        If it raises, by a check, by Ctrl-C, PassStopped or NumericError, every sequence has the positions that it had.
        """
        cache = self._open_cache()
        new = checked_tokens_of(seqs, tokens, self.n_vocab, cache.length)
        n_logit = checked_counts(logits, seqs, new)
        if out is not None:
            check_out(out, (sum(n_logit), self.n_vocab))

        if not seqs:
            return np.zeros((0, self.n_vocab), np.float32) if out is None else out

        clock = LayerClock(self._telemetry, sum(map(len, new)))
        try:
            for seq, ids in zip(seqs, new, strict=True):
                cache.reserve(seq, len(ids))
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                rows = forward(self.config, self._weights, self._rope, cache, seqs, new, n_logit, clock, stop)
            self._check_finite(rows, seqs, new, n_logit)
        except BaseException:
            for seq in seqs:
                cache.abandon(seq)
            raise
        for seq, ids in zip(seqs, new, strict=True):
            cache.commit(seq, len(ids))
        clock.end()
        if out is None:
            return rows
        out[...] = rows
        return out

    def _check_finite(
        self, rows: np.ndarray, seqs: Sequence[int], new: list[np.ndarray], n_logit: Sequence[int]
    ) -> None:
        """A row that is not finite is an error, never a token: NaN compares false and would pick one silently."""
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if not len(bad):
            return
        which = [
            (seq, i) for seq, ids, n in zip(seqs, new, n_logit, strict=True) for i in range(len(ids) - n, len(ids))
        ]
        seq, i = which[bad[0]]
        raise NumericError(
            f"sequence {seq}: the logits at position {self._cache.length(seq) + i} are not finite; the model is "
            "damaged, or its values overflow the cache: try kv='f32'"
        )

    # What it is and did

    def telemetry(self) -> dict[str, Any]:
        """Returns times, in microseconds, and counts of the passes so far (telemetry.py)."""
        return self._telemetry.as_dict()

    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]:
        """Returns the records of the layers since the last call, and how many before were lost."""
        self._open_cache()
        return self._telemetry.take_records()

    @property
    def is_streamed(self) -> bool:
        """Whether weights are read for every pass: here never."""
        return False

    def info(self) -> dict[str, Any]:
        """Returns what was chosen at start and the bytes that are held."""
        return {
            "backend": "reference",
            "kernels": "numpy",
            "threads": 1,
            "kv": self._cache.kv,
            "n_ctx": self.n_ctx,
            "n_seq_max": self.n_seq_max,
            "bytes_weights": self._bytes_weights,
            "bytes_kv": self._cache.n_bytes,
            "bytes_kv_per_slab": self._cache.n_bytes_per_slab,
        }

    def close(self) -> None:
        """Frees everything. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._cache.sequences.clear()
            del self._weights, self._rope

    def _open_cache(self) -> KVCachePool:
        if self._closed:
            raise ValueError("this engine is closed; open the model again")
        return self._cache
