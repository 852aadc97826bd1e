"""The extension: the Rust core behind the names that the reference has too, and what it knows of the machine."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, final, overload

import numpy as np
import numpy.typing as npt

import axiom.engine
from axiom.model_file.tensor_source import TensorSource

__all__ = [
    "Engine",
    "LogitRow",
    "Logits",
    "ReceiptChain",
    "Sampler",
    "StopFlag",
    "TextDecoder",
    "Tokenizer",
    "blake3",
    "chosen_kernels",
    "default_threads",
    "disk_bandwidth",
    "info",
    "kernel_info",
    "leave",
    "pack_matrix",
    "read_bandwidth",
    "skip_strings",
    "testing",
]

testing: ModuleType

@final
class Engine:
    """A model in the core; see `axiom.engine.Engine`."""

    def __new__(
        cls,
        config: Mapping[str, Any],
        tensors: Iterable[TensorSource],
        *,
        n_ctx: int,
        n_seq_max: int,
        threads: int | None = None,
        kernels: str | None = None,
        kv: str = "f16",
        progress: Callable[[int, int], object] | None = None,
    ) -> Engine: ...
    @property
    def n_ctx(self) -> int: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def n_seq_max(self) -> int: ...
    @staticmethod
    def bytes_besides_weights(
        config: Mapping[str, Any],
        *,
        n_ctx: int,
        n_seq_max: int,
        kv: Literal["f16", "f32"] = "f16",
        rows_per_pass: int = 256,
        threads: int | None = None,
    ) -> int: ...
    @staticmethod
    def from_image(
        path: str | os.PathLike[str],
        *,
        n_ctx: int,
        n_seq_max: int,
        threads: int | None = None,
        kernels: str | None = None,
        kv: Literal["f16", "f32"] = "f16",
        budget: int | None = None,
        rows_per_pass: int = 256,
        paranoid: bool = False,
        root: bytes | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Engine: ...
    def seq_new(self) -> int: ...
    def seq_free(self, seq: int, /) -> None: ...
    def seq_fork(self, seq: int, /) -> int: ...
    def seq_len(self, seq: int, /) -> int: ...
    def seq_rewind(self, seq: int, n_pos: int, /) -> None: ...
    def seq_save(self, seq: int, /) -> bytes: ...
    def seq_save_parts(self, seq: int, /) -> tuple[int, Iterator[bytes]]: ...
    def seq_load(self, state: bytes, /) -> int: ...
    def forward(
        self,
        seqs: Sequence[int],
        tokens: Sequence[Sequence[int]],
        logits: Literal["last", "all", "none"] | Sequence[int] = "last",
        out: npt.NDArray[np.float32] | None = None,
        stop: StopFlag | None = None,
    ) -> axiom.engine.Logits: ...
    @property
    def is_streamed(self) -> bool: ...
    def telemetry(self) -> dict[str, Any]: ...
    def take_records(self) -> tuple[npt.NDArray[np.uint64], int]: ...
    def info(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

@final
class LogitRow:
    """The logits after one position."""

    def __len__(self) -> int: ...
    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.float32]: ...

@final
class Logits:
    """Logits after some positions; see `axiom.engine.Logits`."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[LogitRow]: ...
    @overload
    def __getitem__(self, index: int, /) -> LogitRow: ...
    @overload
    def __getitem__(self, index: slice, /) -> Logits: ...
    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.float32]: ...

@final
class StopFlag:
    """Asks a pass to stop, from any thread or at a moment."""

    def __new__(cls, timeout: float | None = None) -> StopFlag: ...
    def set(self) -> None: ...
    def is_set(self) -> bool: ...

@final
class Sampler:
    """Chooses tokens from logits; docs/sampling.md."""

    def __new__(
        cls,
        n_vocab: int,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repeat_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_last_n: int = 64,
        logit_bias: Mapping[int, float] | None = None,
        seed: int = 0,
        kernels: str | None = None,
    ) -> Sampler: ...
    @property
    def n_vocab(self) -> int: ...
    def canonical_bytes(self) -> bytes: ...
    def sample(self, logits: axiom.engine.LogitRow, history: Sequence[int], position: int) -> int: ...
    def distribution(self, logits: axiom.engine.LogitRow, history: Sequence[int]) -> list[tuple[int, float]]: ...
    def logprobs(
        self, logits: axiom.engine.LogitRow, token: int, top_n: int = 0
    ) -> tuple[float, list[tuple[int, float]]]: ...

@final
class ReceiptChain:
    """The running digest over a generation; docs/receipts.md."""

    def __new__(cls, contract: str, model_digest: bytes, prompt: Sequence[int], sampling: bytes) -> ReceiptChain: ...
    def update(self, position: int, token: int, logits: axiom.engine.LogitRow) -> bytes: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> ReceiptChain: ...

@final
class Tokenizer:
    """Encodes texts and decodes tokens by the metadata of a model; see `axiom.Tokenizer`."""

    def __new__(cls, metadata: Mapping[str, Any]) -> Tokenizer: ...
    def encode(
        self, text: str, add_special: bool = True, parse_special: bool = False, at_start: bool = True
    ) -> list[int]: ...
    def decode(self, ids: Iterable[int], at_start: bool = True, special: bool = False) -> str: ...
    def decoder(self, at_start: bool = True, special: bool = False) -> TextDecoder: ...
    def token_bytes(self, id: int) -> bytes: ...
    def token_text(self, id: int) -> str: ...
    def token_kind(self, id: int) -> str: ...
    def token_id(self, text: str) -> int | None: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def pre(self) -> str | None: ...
    @property
    def bos_id(self) -> int | None: ...
    @property
    def eos_id(self) -> int | None: ...
    @property
    def eot_id(self) -> int | None: ...
    @property
    def eom_id(self) -> int | None: ...
    @property
    def unk_id(self) -> int | None: ...
    @property
    def sep_id(self) -> int | None: ...
    @property
    def pad_id(self) -> int | None: ...
    @property
    def eog_ids(self) -> list[int]: ...
    @property
    def add_bos(self) -> bool: ...
    @property
    def add_eos(self) -> bool: ...
    @property
    def add_space_prefix(self) -> bool: ...

@final
class TextDecoder:
    """Decodes tokens that come one at a time; made by `Tokenizer.decoder`."""

    def push(self, id: int) -> str: ...
    def finish(self) -> str: ...

def info() -> dict[str, Any]:
    """Return what this extension is: version, contract, formats, kernel tables, how it was built."""

def kernel_info(forced: str | None = None) -> dict[str, Any]:
    """Return what the processor has, what each kernel table lacks, and which one is chosen."""

def chosen_kernels(asked: str | None = None) -> str:
    """Return the name of the kernel table to compute with: the one asked for, that of AXIOM_KERNELS, or the best."""

def default_threads() -> dict[str, Any]:
    """Return how many threads an engine uses by default, and what decides it."""

def read_bandwidth(threads: int | None = None, seconds: float = 0.5) -> float:
    """Measure how many bytes per second that many threads read together."""

def disk_bandwidth(path: str | os.PathLike[str], seconds: float = 1.0) -> tuple[float, bool]:
    """Measure how many bytes per second of a file are read as weights are streamed, and whether past the page cache."""

def skip_strings(data: bytes, start: int, n: int, n_bytes: int) -> tuple[int, int]:
    """Pass over strings, each a u64 length and its bytes; return how many were passed and where the next begins.

    It stops at a string whose length is not in `data`, or that leads out of a file of `n_bytes`.
    """

def leave() -> None:
    """End the program: threads that are inside of the extension, and those that come, stay there."""

def blake3(data: bytes | npt.NDArray[np.uint8], /) -> bytes: ...
def pack_matrix(tensor: TensorSource, out: npt.NDArray[np.uint8], threads: int | None = None) -> None: ...
