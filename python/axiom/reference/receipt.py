"""The hash chain of a receipt: SHA-256 over what went into a generation and over the bits of every logit.

Two runs with the same digest after token t had the same logits, to the last bit, at every token up to t. The byte
layout is in `docs/receipts.md`; twin of `axiom_core::receipt`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from axiom.reference.sample.parameters import integer_in

DOMAIN_TAG = b"axiom-receipt-1\0"
"""What separates this use of SHA-256 from any other, and this layout from a later one."""

_U32 = ("from 0 to 4294967295", 0, 2**32 - 1)


class ReceiptChain:
    """The running digest over a generation; the same digests as `axiom._native.ReceiptChain`."""

    def __init__(self, contract: str, model_digest: bytes, prompt: Sequence[int], sampling: bytes) -> None:
        """Start from all that the logits and the choice of tokens depend on.

        `contract` names the arithmetic, `model_digest` is the SHA-256 of the model (32 bytes), `prompt` the
        tokens, `sampling` the canonical bytes of the sampling parameters.
        """
        if len(model_digest) != 32:
            raise ValueError(f"model_digest must be the 32 bytes of a SHA-256, got {len(model_digest)} bytes")
        tokens = [integer_in("prompt token", token, *_U32) for token in prompt]
        name = contract.encode()
        start = DOMAIN_TAG
        start += struct.pack("<I", len(name)) + name
        start += model_digest
        start += struct.pack(f"<I{len(tokens)}I", len(tokens), *tokens)
        start += struct.pack("<I", len(sampling)) + sampling
        self._digest = hashlib.sha256(start).digest()

    def update(self, position: int, token: int, logits: NDArray[np.float32]) -> bytes:
        """Append the choice of `token` for `position` and the `logits` [n_vocab] it was chosen from.

        Gives the digest so far. ValueError for a logit that is not finite; the chain is then as it was.
        """
        position = integer_in("position", position, *_U32)
        token = integer_in("token", token, *_U32)
        if not isinstance(logits, np.ndarray) or logits.dtype != np.float32 or logits.ndim != 1:
            raise TypeError("logits must be a one-dimensional float32 array")
        bad = np.flatnonzero(~np.isfinite(logits))
        if len(bad):
            raise ValueError(
                f"logit of token {bad[0]} at position {position} must be finite, got {logits[bad[0]]}; "
                "the model or its cache is damaged"
            )
        step = self._digest + struct.pack("<II", position, token) + logits.astype("<f4").tobytes()
        self._digest = hashlib.sha256(step).digest()
        return self._digest

    def digest(self) -> bytes:
        """The digest so far."""
        return self._digest

    def hexdigest(self) -> str:
        """The digest so far, as 64 hexadecimal digits."""
        return self._digest.hex()

    def copy(self) -> ReceiptChain:
        """A chain that goes on from here by itself."""
        twin = object.__new__(ReceiptChain)
        twin._digest = self._digest
        return twin
