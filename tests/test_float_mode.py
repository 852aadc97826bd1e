"""A thread that comes in another floating-point mode gets the same bits: from loading, from passes, from the sampler.

Libraries that were built with `-ffast-math` leave such a mode to the thread that loads them.
"""

from __future__ import annotations

import ctypes
import pickle
import platform
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import axiom

_native = pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine(), platform.libc_ver()[0]) != ("Linux", "x86_64", "glibc"),
    reason="the mode is set through glibc's fenv_t of x86-64",
)
# In MXCSR: round down, round up, denormals are zero and flush to zero.
MODES = {"down": 0x2000, "up": 0x4000, "fast-math": 0x8040}
# A rotation whose numbers are rounded in f64 and again to f32.
MODEL = {"n_layer": 1, "n_embd": 96, "n_head": 2, "n_head_kv": 1, "n_ff": 64, "n_vocab": 300, "rope_scaling": "yarn"}


@contextmanager
def mode(bits: int) -> Iterator[None]:
    libm = ctypes.CDLL("libm.so.6")
    before = (ctypes.c_char * 32)()
    libm.fegetenv(before)
    (mxcsr,) = struct.unpack_from("<I", before.raw, 28)
    libm.fesetenv(before.raw[:28] + struct.pack("<I", mxcsr & ~0x3F | bits))
    try:
        yield
    finally:
        libm.fesetenv(before)


@pytest.mark.parametrize("bits", MODES.values(), ids=list(MODES))
def test_loading_and_computing(random_model: Callable[..., Path], bits: int) -> None:
    tokens = list(range(60))
    with axiom.Runtime(random_model(**MODEL, fmt="Q8_0"), threads=1) as runtime:
        expected = runtime.logits(tokens)
        with mode(bits):
            got = runtime.logits(tokens)
    assert got.tobytes() == expected.tobytes()
    with mode(bits):
        opened = axiom.Runtime(random_model(**MODEL, fmt="Q8_0"), threads=1)
    assert opened.logits(tokens).tobytes() == expected.tobytes()
    opened.close()


@pytest.mark.parametrize("bits", MODES.values(), ids=list(MODES))
def test_sampling(bits: int) -> None:
    logits = (6 * np.random.default_rng(0).standard_normal(600)).astype(np.float32)
    logits[3:6] = 1e-39, 0.0, 1e-40

    def chosen() -> bytes:
        sampler = _native.Sampler(600, temperature=0.7, typical_p=0.9, repeat_penalty=1.1, seed=3)
        tokens = [sampler.sample(logits, [1, 2, 3], position) for position in range(20)]
        return pickle.dumps((sampler.distribution(logits, [1, 2, 3]), tokens, sampler.logprobs(logits, 3, 600)))

    expected = chosen()
    with mode(bits):
        got = chosen()
    assert got == expected
