"""The hash chain of a receipt: the layout of docs/receipts.md, in both bodies."""

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom import _native
from axiom.reference.receipt import ReceiptChain
from axiom.reference.sample import Sampler

BODIES = [pytest.param(_native.ReceiptChain, id="native"), pytest.param(ReceiptChain, id="reference")]
START = ("axiom-arithmetic-1", bytes(range(32)), [1, 2, 2**32 - 1], b"settings")


@pytest.mark.parametrize("body", BODIES)
def test_layout(body: Any) -> None:
    """Byte for byte, written out once more from the document."""
    start = b"axiom-receipt-1\0"
    start += bytes([18, 0, 0, 0]) + b"axiom-arithmetic-1"
    start += bytes(range(32))
    start += bytes.fromhex("03000000 01000000 02000000 ffffffff")
    start += bytes([8, 0, 0, 0]) + b"settings"
    digest = hashlib.sha256(start).digest()
    chain = body(*START)
    assert chain.digest() == digest
    logits = np.array([1.0, -0.0, 2.0**-149], np.float32)
    step = digest + bytes.fromhex("07000000 05000000 0000803f 00000080 01000000")
    digest = hashlib.sha256(step).digest()
    assert chain.update(7, 5, logits) == digest
    assert chain.hexdigest() == digest.hex()


def test_canonical_bytes_of_the_sampler() -> None:
    for body in (_native.Sampler, Sampler):
        sampler = body(
            9, temperature=0.5, top_p=-0.0, top_k=3, repeat_last_n=-1, seed=2**63, logit_bias={5: 1.5, 2: -np.inf}
        )
        expected = struct.pack("<7d", 0.5, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0) + struct.pack("<IiQI", 3, -1, 2**63, 2)
        assert sampler.canonical_bytes() == expected + struct.pack("<IdId", 2, -np.inf, 5, 1.5)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40),
    st.binary(min_size=32, max_size=32),
    st.lists(st.integers(0, 2**32 - 1), max_size=40),
    st.binary(max_size=100),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 1200)), max_size=4),
)
def test_both_bodies_give_the_same_digests(
    contract: str, model: bytes, prompt: list[int], sampling: bytes, steps: list[tuple[int, int, int]]
) -> None:
    native = _native.ReceiptChain(contract, model, prompt, sampling)
    twin = ReceiptChain(contract, model, prompt, sampling)
    assert native.digest() == twin.digest()
    for position, token, n_vocab in steps:
        logits = np.random.default_rng(token).normal(size=n_vocab).astype(np.float32)
        assert native.update(position, token, logits) == twin.update(position, token, logits)
    assert native.hexdigest() == twin.hexdigest()


@pytest.mark.parametrize("body", BODIES)
def test_every_field_and_every_bit_counts(body: Any) -> None:
    logits = np.arange(300, dtype=np.float32)
    seen = set()
    for contract, model, prompt, sampling in (
        START,
        ("axiom-arithmetic-2", *START[1:]),
        (START[0], bytes(32), *START[2:]),
        (*START[:2], [1, 2], START[3]),
        (*START[:3], b"setting"),
    ):
        seen.add(body(contract, model, prompt, sampling).update(3, 4, logits))
    chain = body(*START)
    seen.add(chain.copy().update(2, 4, logits))
    seen.add(chain.copy().update(3, 5, logits))
    seen.add(chain.copy().update(3, 4, logits[:-1]))
    for idx in (0, 255, 256, 299):
        changed = logits.copy()
        changed[idx] = np.nextafter(changed[idx], np.float32(1e9))
        seen.add(chain.copy().update(3, 4, changed))
    zero = logits.copy()
    zero[0] = -0.0
    seen.add(chain.copy().update(3, 4, zero))
    assert len(seen) == 13


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_and_leave_no_trace(body: Any, bad: float) -> None:
    chain = body(*START)
    before = chain.digest()
    logits = np.zeros(10, np.float32)
    logits[6:] = bad
    with pytest.raises(ValueError, match="logit of token 6 at position 9 must be finite"):
        chain.update(9, 0, logits)
    assert chain.digest() == before


@pytest.mark.parametrize("body", BODIES)
def test_arguments_are_checked(body: Any) -> None:
    with pytest.raises(ValueError, match="model_digest must be the 32 bytes of a SHA-256, got 31 bytes"):
        body(START[0], bytes(31), *START[2:])
    with pytest.raises(ValueError, match="prompt token must be from 0 to 4294967295, got -1"):
        body(*START[:2], [-1], b"")
    chain = body(*START)
    logits = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="position must be from 0 to 4294967295, got -1"):
        chain.update(-1, 0, logits)
    with pytest.raises(ValueError, match="token must be from 0 to 4294967295, got 4294967296"):
        chain.update(0, 2**32, logits)
    with pytest.raises(TypeError, match="one-dimensional float32"):
        chain.update(0, 0, logits.astype(np.float64))
