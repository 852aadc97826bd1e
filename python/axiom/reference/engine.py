"""The reference body of `axiom.engine.Engine`: sequences, checks, and the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NumericError
from ..model_config import ModelConfig
from .memory import KVCachePool
from .model.forward import forward
from .model.rope import RopeTable
from .model.weights import Tensor, load_weights

_LOGIT_ROWS = ("last", "all", "none")


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
        self._closed = False
        self._n_pass = self._n_token = 0
        self._layer_us = [0.0] * self.config.n_layer
        self._pass_us = 0.0

    # Sequences

    def seq_new(self) -> int:
        """Opens an empty sequence."""
        return self._open_cache().new()

    def seq_free(self, seq: int, /) -> None:
        """Closes a sequence and frees its positions."""
        self._open_cache().free(seq)

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

    def seq_load(self, state: bytes, /) -> int:
        """Opens a new sequence from what `seq_save` returned."""
        return self._open_cache().load(state)

    # The forward pass

    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: str = "last",
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Appends tokens[i] to sequence seqs[i] in one pass; returns logits f32 [n_rows, n_vocab].

        If it raises, by a check, by Ctrl-C or by NumericError, every sequence has the positions that it had before.
        """
        cache = self._open_cache()
        new = self._checked(seqs, tokens, logits)
        n_rows = {"last": len(seqs), "all": sum(map(len, new)), "none": 0}[logits]
        if out is not None:
            _check_out(out, (n_rows, self.n_vocab))

        started = boundary = perf_counter()

        def at_layer_boundary(layer_idx: int) -> None:
            nonlocal boundary
            now = perf_counter()
            self._layer_us[layer_idx] += (now - boundary) * 1e6
            boundary = now

        try:
            for seq, ids in zip(seqs, new, strict=True):
                cache.reserve(seq, len(ids))
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                rows = forward(self.config, self._weights, self._rope, cache, seqs, new, logits, at_layer_boundary)
            _check_finite(rows, seqs, new, logits)
        except BaseException:
            for seq in seqs:
                cache.abandon(seq)
            raise
        for seq, ids in zip(seqs, new, strict=True):
            cache.commit(seq, len(ids))
        self._n_pass += 1
        self._n_token += sum(map(len, new))
        self._pass_us += (perf_counter() - started) * 1e6
        if out is None:
            return rows
        out[...] = rows
        return out

    def _checked(self, seqs: Sequence[int], tokens: Sequence[Sequence[int]], logits: str) -> list[np.ndarray]:
        if logits not in _LOGIT_ROWS:
            raise ValueError(f"logits: expected one of {', '.join(map(repr, _LOGIT_ROWS))}, got {logits!r}")
        if len(seqs) != len(tokens) or not seqs:
            raise ValueError(f"expected as many lists of tokens as sequences, got {len(tokens)} for {len(seqs)}")
        if len(set(seqs)) != len(seqs):
            raise ValueError(f"expected each sequence once in a pass, got seqs={list(seqs)}")
        checked = []
        for seq, given in zip(seqs, tokens, strict=True):
            self._cache.length(seq)
            ids = np.asarray(given)
            if ids.ndim != 1 or not len(ids) or not np.issubdtype(ids.dtype, np.integer):
                raise ValueError(f"sequence {seq}: expected a list of at least one token, got {ids.tolist()!r}")
            wrong = ids[(ids < 0) | (ids >= self.n_vocab)]
            if len(wrong):
                raise ValueError(f"sequence {seq}: expected tokens in 0 ... {self.n_vocab - 1}, got {wrong[0]}")
            checked.append(ids.astype(np.int64))
        return checked

    # What it is and did

    def telemetry(self) -> dict[str, Any]:
        """Returns times, in microseconds, and counts of the passes so far."""
        return {
            "n_pass": self._n_pass,
            "n_token": self._n_token,
            "pass_us": self._pass_us,
            "layer_us": list(self._layer_us),
        }

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


def _check_out(out: np.ndarray, shape: tuple[int, int]) -> None:
    if out.dtype != np.float32 or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out: expected a writeable, contiguous float32 array of shape {list(shape)}, "
            f"got {out.dtype} {list(out.shape)}"
        )


def _check_finite(rows: np.ndarray, seqs: Sequence[int], new: list[np.ndarray], logits: str) -> None:
    """A row that is not finite is an error, never a token: NaN compares false and would pick one silently."""
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if not len(bad):
        return
    ends = np.cumsum([1 if logits == "last" else len(ids) for ids in new])
    seq = seqs[int(np.searchsorted(ends, bad[0], side="right"))]
    raise NumericError(
        f"sequence {seq}: the logits of row {bad[0]} are not all finite; "
        "the weights are damaged, or keys overflow the f16 cache: check the file, or use kv='f32'"
    )
