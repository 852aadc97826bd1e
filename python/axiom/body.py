"""The bodies of the engine, behind one set of names.

What is not written in Python once for all is found through here: the engine, the sampler and the receipt's hash
chain. All bodies give the same results to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol, cast

from axiom.engine import Engine, LogitRow, StopFlag
from axiom.errors import AxiomError
from axiom.record import Record

__all__ = [
    "CONTRACT",
    "Backend",
    "Body",
    "ReceiptChain",
    "Sampler",
    "TextDecoder",
    "host_backend",
    "load_body",
    "require_extension",
]

Backend = Literal["native", "reference", "bare"]

CONTRACT = "axiom-arithmetic-1"
"""Name of the arithmetic that all bodies share (docs/arithmetic.md)."""


class Sampler(Protocol):
    """Chooses tokens from logits, by the settings that it was made with (docs/sampling.md)."""

    def sample(self, logits: LogitRow, history: Sequence[int], position: int, /) -> int:
        """Return the token for `position`, from its `logits` `[n_vocab]` and the tokens before it."""
        ...

    def logprobs(self, logits: LogitRow, token: int, top_n: int = 0, /) -> tuple[float, list[tuple[int, float]]]:
        """Return the log-probability of `token` under unmodified logits, and the `top_n` best with theirs."""
        ...

    def canonical_bytes(self) -> bytes:
        """Return the settings as bytes, for a receipt."""
        ...


class ReceiptChain(Protocol):
    """The running digest over a generation (docs/receipts.md)."""

    def update(self, position: int, token: int, logits: LogitRow, /) -> bytes:
        """Append the choice of `token` and the logits that it was chosen from; return the digest so far."""
        ...

    def digest(self) -> bytes:
        """Return the digest so far."""
        ...


class TextDecoder(Protocol):
    """Turns tokens that come one at a time into text, and never gives out a broken character."""

    def push(self, token: int, /) -> str:
        """Take one token and return the characters that are complete with it."""
        ...

    def finish(self) -> str:
        """Return what is left at the end of the tokens; an incomplete character is U+FFFD."""
        ...


class Body(Record):
    """The classes of one body."""

    engine: Callable[..., Engine]
    sampler: Callable[..., Sampler]
    """`sampler(n_vocab, **Sampling.as_dict())`, with a seed that is a number."""
    receipt_chain: Callable[[str, bytes, Sequence[int], bytes], ReceiptChain]
    """`receipt_chain(contract, model_digest, prompt, sampling_bytes)`."""
    stop_flag: Callable[[float | None], StopFlag]
    """`stop_flag(timeout)`, in seconds; None sets no time."""


def load_body(backend: Backend, kernels: str | None = None) -> Body:
    """Import a body by the name of its backend.

    `kernels` forces the kernel table that native samplers compute with; `ValueError` if this processor cannot. Raises
    as `host_backend`, and `AxiomError` for the native body without the extension.
    """
    host = host_backend(backend)
    if backend == "bare":
        from axiom.bare.engine import Engine as BareEngine

        # The machine computes logits; choosing among them is done here, by whichever body is here.
        return load_body(host).replace(engine=BareEngine)
    return _native_body(kernels) if host == "native" else _reference_body()


def host_backend(backend: Backend) -> Literal["native", "reference"]:
    """Return the body that does here what a backend's engine does not do: tokenizers, sampling, receipts.

    Raises `ValueError` for what is no backend.
    """
    if backend == "native" or backend == "reference":
        return backend
    if backend != "bare":
        raise ValueError(f"backend: expected 'native', 'reference' or 'bare', got {backend!r}")
    from importlib.util import find_spec

    return "reference" if find_spec("axiom._native") is None else "native"


def require_extension(instead: str = "use backend='reference' (--backend reference)") -> None:
    """Raise `AxiomError` if the extension cannot be imported; `instead` is what else a user can do."""
    try:
        import axiom._native  # noqa: F401
    except ImportError as error:
        raise AxiomError(
            f"the extension axiom._native cannot be imported ({error}); install the package with pip, or {instead}"
        ) from error


def _reference_body() -> Body:
    from axiom.reference.engine import Engine as ReferenceEngine
    from axiom.reference.receipt import ReceiptChain as ReferenceChain
    from axiom.reference.sample import Sampler as ReferenceSampler
    from axiom.reference.stop_flag import StopFlag as ReferenceStopFlag

    # These take the logits of their own body, which are arrays.
    return Body(
        engine=ReferenceEngine,
        sampler=cast("Callable[..., Sampler]", ReferenceSampler),
        receipt_chain=cast("Callable[..., ReceiptChain]", ReferenceChain),
        stop_flag=ReferenceStopFlag,
    )


def _native_body(kernels: str | None) -> Body:
    require_extension()
    from axiom import _native

    return Body(
        engine=_native.Engine,
        sampler=partial(_native.Sampler, kernels=_native.chosen_kernels(kernels)),
        receipt_chain=_native.ReceiptChain,
        stop_flag=_native.StopFlag,
    )
