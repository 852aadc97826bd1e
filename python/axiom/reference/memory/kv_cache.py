"""The key-value cache: slabs of 128 positions that sequences share until one of them writes.

A sequence is a list of slabs and a length. Forking copies the list, not the slabs; the first write to a slab that
another sequence also holds copies it. A slab is one tile of attention (docs/arithmetic.md, section 5): both grids
start at position 0 of the sequence.

Keys and values are kept as f16 (or f32, if asked) and read back through that type also by the token that wrote them,
so a position's bits do not depend on whether it was computed in this pass or an earlier one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct

import numpy as np

from axiom.errors import ContextLengthError, MemoryBudgetError
from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic.half import f16_to_f32, f32_to_f16
from axiom.reference.model.attention import POSITIONS_PER_TILE

POSITIONS_PER_SLAB = POSITIONS_PER_TILE
# docs/formats.md: magic, version, bytes per number, n_layer, n_head_kv, head_dim, n_pos; then numbers; then a CRC-32.
_SAVED_HEADER = Struct("<8s6I")
_SAVED_MAGIC, _SAVED_VERSION = b"AXIOMSEQ", 1
_SAVED_CRC = Struct("<I")


@dataclass
class Slab:
    """Keys and values of 128 positions: uint16 (f16 bits) or f32 [n_layer, 2, n_head_kv, 128, head_dim]."""

    kv: np.ndarray
    n_holders: int = 1


@dataclass
class _Sequence:
    slabs: list[Slab] = field(default_factory=list)
    n_pos: int = 0


class KVCachePool:
    """All sequences of an engine. A sequence is named by the lowest integer that was free when it was opened."""

    def __init__(self, config: ModelConfig, n_ctx: int, n_seq_max: int, kv: str) -> None:
        if kv not in ("f16", "f32"):
            raise ValueError(f"kv: expected 'f16' or 'f32', got {kv!r}")
        self.n_ctx, self.n_seq_max, self.kv = n_ctx, n_seq_max, kv
        self.dtype = np.dtype(np.uint16 if kv == "f16" else np.float32)
        self.slab_shape = (config.n_layer, 2, config.n_head_kv, POSITIONS_PER_SLAB, config.head_dim)
        self.sequences: dict[int, _Sequence] = {}

    # Sequences

    def open(self) -> int:
        """Opens an empty sequence; MemoryBudgetError when all are taken."""
        for seq in range(self.n_seq_max):
            if seq not in self.sequences:
                self.sequences[seq] = _Sequence()
                return seq
        raise MemoryBudgetError(
            f"all {self.n_seq_max} sequences are taken; free one, or open the engine with a larger n_seq_max"
        )

    def close(self, seq: int) -> None:
        """Closes a sequence; slabs that no other sequence holds go with it."""
        self._release(self._get(seq).slabs)
        del self.sequences[seq]

    def fork(self, seq: int) -> int:
        """Opens a new sequence that shares all slabs of `seq`."""
        parent = self._get(seq)
        child = self.open()
        for slab in parent.slabs:
            slab.n_holders += 1
        self.sequences[child] = _Sequence(list(parent.slabs), parent.n_pos)
        return child

    def length(self, seq: int) -> int:
        """Positions of a sequence."""
        return self._get(seq).n_pos

    def rewind(self, seq: int, n_pos: int) -> None:
        """Keeps the first `n_pos` positions."""
        sequence = self._get(seq)
        if not 0 <= n_pos <= sequence.n_pos:
            raise ValueError(f"sequence {seq}: expected n_pos in 0 ... {sequence.n_pos}, its length, got {n_pos}")
        n_slabs = -(-n_pos // POSITIONS_PER_SLAB)
        self._release(sequence.slabs[n_slabs:])
        del sequence.slabs[n_slabs:]
        sequence.n_pos = n_pos

    # One pass: reserve, then write and read layer by layer, then commit (or abandon, and nothing has happened)

    def reserve(self, seq: int, n_new: int) -> None:
        """Makes the next `n_new` positions writable; ContextLengthError if they are more than the context has."""
        sequence = self._get(seq)
        n_after = sequence.n_pos + n_new
        if n_after > self.n_ctx:
            raise ContextLengthError(
                f"sequence {seq} has {sequence.n_pos} positions and {n_new} more make {n_after}, but n_ctx is "
                f"{self.n_ctx}; use a larger n_ctx or a shorter prompt"
            )
        for slab_idx in range(sequence.n_pos // POSITIONS_PER_SLAB, -(-n_after // POSITIONS_PER_SLAB)):
            if slab_idx == len(sequence.slabs):
                sequence.slabs.append(Slab(np.zeros(self.slab_shape, self.dtype)))
            elif sequence.slabs[slab_idx].n_holders > 1:
                sequence.slabs[slab_idx].n_holders -= 1
                sequence.slabs[slab_idx] = Slab(sequence.slabs[slab_idx].kv.copy())

    def write(self, seq: int, layer: int, k: np.ndarray, v: np.ndarray) -> None:
        """Stores keys and values f32 [n_new, n_head_kv, head_dim] of one layer after the sequence's last position."""
        sequence = self._get(seq)
        numbers = np.stack([k, v])  # [2, n_new, n_head_kv, head_dim]
        if self.kv == "f16":
            numbers = f32_to_f16(numbers)
        for pos, row in enumerate(numbers.transpose(1, 0, 2, 3), start=sequence.n_pos):
            sequence.slabs[pos // POSITIONS_PER_SLAB].kv[layer, :, :, pos % POSITIONS_PER_SLAB] = row

    def tiles(self, seq: int, layer: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The keys and values of one layer, slab by slab: two f32 [n_head_kv, 128, head_dim]."""
        for slab in self._get(seq).slabs:
            k, v = slab.kv[layer]
            yield (f16_to_f32(k), f16_to_f32(v)) if self.kv == "f16" else (k, v)

    def commit(self, seq: int, n_new: int) -> None:
        """Makes the written positions part of the sequence."""
        self._get(seq).n_pos += n_new

    def abandon(self, seq: int) -> None:
        """Drops what was reserved and not committed."""
        self.rewind(seq, self._get(seq).n_pos)

    # Saved sequences

    def save(self, seq: int) -> bytes:
        """The state of a sequence (docs/formats.md), the same bytes from every body."""
        return b"".join(self.save_parts(seq))

    def bytes_saved(self, seq: int) -> int:
        """Bytes of the state of a sequence."""
        return self._bytes_saved(self._get(seq).n_pos)

    def save_parts(self, seq: int) -> Iterator[bytes]:
        """The state of a sequence in parts: the header, each layer, the checksum."""
        sequence = self._get(seq)
        n_layer, _, n_head_kv, _, head_dim = self.slab_shape
        header = _SAVED_HEADER.pack(
            _SAVED_MAGIC, _SAVED_VERSION, self.dtype.itemsize, n_layer, n_head_kv, head_dim, sequence.n_pos
        )
        crc = zlib.crc32(header)
        yield header
        for layer in range(n_layer if sequence.n_pos else 0):
            # [2, n_head_kv, n_slab * 128, head_dim]
            positions = np.concatenate([slab.kv[layer] for slab in sequence.slabs], axis=2)
            numbers = positions[:, :, : sequence.n_pos].transpose(0, 2, 1, 3)
            part = numbers.astype(self.dtype.newbyteorder("<")).tobytes()
            crc = zlib.crc32(part, crc)
            yield part
        yield _SAVED_CRC.pack(crc)

    def load(self, state: bytes) -> int:
        """Opens a sequence from saved state; ValueError if it is damaged or of another model or cache type."""
        state = bytes(state)
        n_layer, _, n_head_kv, _, head_dim = self.slab_shape
        least = self._bytes_saved(0)
        if len(state) < least or state[:8] != _SAVED_MAGIC:
            raise _wrong_state("is none: bytes that begin with AXIOMSEQ", least, len(state))
        _, *numbers_of_header, n_pos = _SAVED_HEADER.unpack_from(state)
        names = ("version", "bytes per number", "n_layer", "n_head_kv", "head_dim")
        own = (_SAVED_VERSION, self.dtype.itemsize, n_layer, n_head_kv, head_dim)
        for name, expected, got in zip(names, own, numbers_of_header, strict=True):
            if got != expected:
                raise _wrong_state(name, expected, got)
        if n_pos > self.n_ctx:
            raise ContextLengthError(
                f"saved sequence: it has {n_pos} positions, but n_ctx is {self.n_ctx}; use a larger n_ctx"
            )
        n_bytes = self._bytes_saved(n_pos)
        if len(state) != n_bytes:
            raise _wrong_state("length in bytes", n_bytes, len(state))
        (crc,) = _SAVED_CRC.unpack_from(state, n_bytes - _SAVED_CRC.size)
        if crc != zlib.crc32(state[: -_SAVED_CRC.size]):
            raise _wrong_state("checksum", zlib.crc32(state[: -_SAVED_CRC.size]), crc)
        body = memoryview(state)[_SAVED_HEADER.size : -_SAVED_CRC.size]
        numbers = np.frombuffer(body, self.dtype.newbyteorder("<")).reshape(n_layer, 2, n_pos, n_head_kv, head_dim)
        seq = self.open()
        self.reserve(seq, n_pos)
        for slab_idx, slab in enumerate(self.sequences[seq].slabs):
            part = numbers[:, :, slab_idx * POSITIONS_PER_SLAB : (slab_idx + 1) * POSITIONS_PER_SLAB]
            slab.kv[:, :, :, : part.shape[2]] = part.transpose(0, 1, 3, 2, 4)
        self.commit(seq, n_pos)
        return seq

    def _bytes_saved(self, n_pos: int) -> int:
        n_layer, _, n_head_kv, _, head_dim = self.slab_shape
        numbers = 2 * n_layer * n_head_kv * head_dim * n_pos
        return _SAVED_HEADER.size + numbers * self.dtype.itemsize + _SAVED_CRC.size

    def _get(self, seq: int) -> _Sequence:
        sequence = self.sequences.get(seq)
        if sequence is None:
            raise ValueError(
                f"sequence {seq!r} is not open ({len(self.sequences)} are); use the number that opening it returned"
            )
        return sequence

    @staticmethod
    def _release(slabs: list[Slab]) -> None:
        for slab in slabs:
            slab.n_holders -= 1

    @property
    def n_bytes_per_slab(self) -> int:
        """Bytes of one slab, over all layers."""
        return int(np.prod(self.slab_shape)) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Bytes that slabs hold now; a shared slab counts once."""
        return self.n_bytes_per_slab * len({id(slab) for s in self.sequences.values() for slab in s.slabs})


def _wrong_state(what: str, expected: int, got: int) -> ValueError:
    return ValueError(
        f"saved sequence: {what}: expected {expected}, got {got}; load it with the model and kv that saved it"
    )
