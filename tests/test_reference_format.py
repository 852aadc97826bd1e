"""The weight formats of the reference: their values against gguf, their panels against docs/formats.md."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axiom.reference.arithmetic.activation import quantize
from axiom.reference.format import FORMATS, format_named
from axiom.reference.format.codes import Bits, Bytes, Crumbs, Nibbles
from tests import blocks as sources

NAMES = list(FORMATS)
CODED = [name for name in NAMES if name not in sources.FLOAT_FORMATS]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bit for bit, any NaN equal to any other."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float32), np.asarray(b, np.float32))
    return bool(((a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))).all())


def test_all_formats_of_the_table() -> None:
    assert sorted(NAMES) == sorted(sources.FORMATS)
    for name, fmt in FORMATS.items():
        assert (fmt.weights_per_block, fmt.bytes_per_block) == sources.block_shape(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "wild", "any"])
def test_dequantize_equals_gguf(name: str, kind: str) -> None:
    rng = np.random.default_rng(7)
    if kind == "any":  # every byte pattern, non-finite scales included
        raw = rng.integers(0, 256, (3000, FORMATS[name].bytes_per_block), dtype=np.uint8)
    else:
        raw = (sources.random_blocks if kind == "random" else sources.wild_blocks)(name, 3000, rng)
    with np.errstate(all="ignore"):
        got = FORMATS[name].dequantize(raw)
        expected = sources.dequantize(name, raw).reshape(got.shape)
    assert got.dtype == np.float32
    assert same_bits(got, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_rows", [1, 15, 16, 17, 33])
def test_unpack_undoes_pack(name: str, n_rows: int) -> None:
    fmt, rng = FORMATS[name], np.random.default_rng(n_rows)
    for cols in (32, 96, 256, 288, 512, 768) if fmt.weights_per_block < 256 else (256, 512, 768):
        rows = rng.integers(0, 256, (n_rows, fmt.row_bytes(cols)), dtype=np.uint8)
        panels = fmt.pack(rows, cols)
        assert len(panels) == -(-n_rows // 16) * 16 * fmt.row_bytes(cols)
        assert np.array_equal(fmt.unpack(panels, n_rows, cols), rows)


@pytest.mark.parametrize("name", sources.FLOAT_FORMATS)
def test_plain_panels_pad_columns(name: str) -> None:
    fmt = FORMATS[name]
    rows = np.arange(3 * fmt.row_bytes(33), dtype=np.uint8).reshape(3, -1)
    panels = fmt.pack(rows, 33)
    assert len(panels) == 16 * fmt.row_bytes(64)
    assert np.array_equal(fmt.unpack(panels, 3, 33), rows)
    n = fmt.bytes_per_block
    elements = np.frombuffer(panels, np.uint8).reshape(64, 16, n)
    assert np.array_equal(elements[32, 2], rows[2, 32 * n : 33 * n])  # column 32, row 2
    assert not elements[33:].any()
    assert not elements[:, 3:].any()


def code_at(name: str, codes: bytes, r: int, column: int) -> int:
    """A code of one block, read by the sentences of docs/formats.md, section 2, one at a time."""
    g, t = column // 4, column % 4
    if name == "Q8_0":
        return codes[g * 64 + r * 4 + t]
    w = 0
    if name not in ("Q2_K", "Q3_K"):
        w = codes[(g % 4) * 64 + r * 4 + t] >> (4 if column >= 16 else 0) & 15
        codes = codes[256:]
    if name in ("Q2_K", "Q3_K", "Q6_K"):
        h, j = column // 16, column % 16 // 4
        crumb = codes[h * 64 + r * 4 + t] >> 2 * j & 3
        w |= crumb << 4 if name == "Q6_K" else crumb
        codes = codes[128:]
    if name in ("Q3_K", "Q5_0", "Q5_1", "Q5_K"):
        w |= (codes[r * 4 + t] >> g & 1) << (2 if name == "Q3_K" else 4)
    return w


@pytest.mark.parametrize("name", CODED)
def test_panels_lie_as_documented(name: str) -> None:
    """Walks a panel of two chunks byte by byte and finds every scale and every code of the blocks in its place."""
    fmt, rng = FORMATS[name], np.random.default_rng(3)
    cols = 512 if fmt.weights_per_block == 256 else 288
    rows = rng.integers(0, 256, (16, fmt.row_bytes(cols)), dtype=np.uint8)
    blocks = fmt.blocks(rows, cols)
    expected_codes = fmt.codes(blocks).reshape(16, cols // 32, 32)
    panel, at = fmt.pack(rows, cols), 0
    n_code_bytes = {"Q8": 512, "Q4": 256, "Q5": 320, "Q6": 384, "Q2": 128, "Q3": 192}[name[:2]]
    for chunk in range(2):
        n_32 = min(8, cols // 32 - chunk * 8)
        for block in range(n_32 if fmt.weights_per_block == 32 else 1):
            block_idx = chunk * (8 if fmt.weights_per_block == 32 else 1) + block
            for offset, n_bytes in fmt.fields:
                for r in range(16):
                    field = panel[at + r * n_bytes : at + (r + 1) * n_bytes]
                    assert field == blocks[r, block_idx, offset : offset + n_bytes].tobytes()
                at += 16 * n_bytes
        for block in range(n_32):
            codes = panel[at : at + n_code_bytes]
            for r in (0, 1, 7, 15):
                for column in range(32):
                    assert code_at(name, codes, r, column) == expected_codes[r, chunk * 8 + block, column]
            at += n_code_bytes
    assert at == len(panel)


@pytest.mark.parametrize("piece", [Bytes, Nibbles, Crumbs, Bits])
def test_pieces_are_inverses(piece: type) -> None:
    n_bits = {Bytes: 8, Nibbles: 4, Crumbs: 2, Bits: 1}[piece]
    w = np.random.default_rng(0).integers(0, 1 << n_bits, (2, 16, 3, 32), dtype=np.uint8)
    packed = piece.pack(w)
    assert packed.shape == (2, 3, piece.n_bytes)
    assert np.array_equal(piece.unpack(packed), w)


def product_of_one_row(name: str, row: np.ndarray, x: np.ndarray) -> np.float32:
    """Section 4 of docs/arithmetic.md, for one row and one vector, one scalar at a time, integers in Python's own."""
    a, fmt = quantize(x[None]), FORMATS[name]
    f = np.float32
    acc = f(0)
    codes = None if name in sources.FLOAT_FORMATS else fmt.codes(fmt.blocks(row[None], len(x))).reshape(-1, 32)
    half = lambda block, at: f(np.frombuffer(block[at : at + 2].tobytes(), "<f2")[0])  # noqa: E731
    for b in range(-(-len(x) // 32)):
        xs = x[b * 32 : b * 32 + 32]
        q = [int(v) for v in a.q[0, b]]
        d, m = a.d[0, b], a.m[0, b]
        if codes is None:
            p = f(0)
            for w, value in zip(fmt.dequantize(row.reshape(len(x), -1))[b * 32 : b * 32 + 32, 0], xs, strict=True):
                p = p + w * value
            acc = acc + p
            continue
        w = [int(v) for v in codes[b]]
        n = fmt.bytes_per_block
        block = row[b * 32 // fmt.weights_per_block * n :][:n]
        k = b % 8
        if name in ("Q4_0", "Q5_0", "Q8_0"):
            z = {"Q4_0": 8, "Q5_0": 16, "Q8_0": 128}[name]
            acc = acc + (half(block, 0) * d) * f(sum((v - z) * u for v, u in zip(w, q, strict=True)))
        elif name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K"):
            d_w, m_w = half(block, 0), half(block, 2)
            if name.endswith("K"):
                s = [int(v) for v in block[4:16]]
                sc = s[k] & 63 if k < 4 else s[k + 4] & 15 | s[k - 4] >> 6 << 4
                mn = s[k + 4] & 63 if k < 4 else s[k + 4] >> 4 | s[k] >> 6 << 4
                d_w, m_w = d_w * f(sc), -(m_w * f(mn))
            acc = acc + (d_w * d) * f(sum(v * u for v, u in zip(w, q, strict=True)))
            acc = acc + m_w * m
        else:
            at, z = {"Q2_K": (80, 0), "Q3_K": (108, 4), "Q6_K": (208, 32)}[name]
            scales, minima = [], []
            for i in (2 * k, 2 * k + 1):
                if name == "Q2_K":
                    scales.append(int(block[i]) & 15)
                    minima.append(int(block[i]) >> 4)
                elif name == "Q6_K":
                    scales.append(struct.unpack("b", block[192 + i : 193 + i].tobytes())[0])
                else:
                    low = int(block[96 + i % 8]) >> (4 if i >= 8 else 0) & 15
                    scales.append((low | (int(block[104 + i % 4]) >> 2 * (i // 4) & 3) << 4) - 32)
            halves = [sum((v - z) * u for v, u in zip(w[s], q[s], strict=True)) for s in (slice(16), slice(16, 32))]
            acc = acc + (half(block, at) * d) * f(scales[0] * halves[0] + scales[1] * halves[1])
            if minima:
                j = minima[0] * sum(q[:16]) + minima[1] * sum(q[16:])
                acc = acc - (half(block, 82) * d) * f(j)
    return acc


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), n_rows=st.integers(1, 3), n_tokens=st.integers(1, 3), n_blocks=st.integers(1, 3))
def test_matmul_is_the_text(name: str, seed: int, n_rows: int, n_tokens: int, n_blocks: int) -> None:
    fmt, rng = FORMATS[name], np.random.default_rng(seed)
    cols = n_blocks * fmt.weights_per_block if fmt.weights_per_block > 1 else n_blocks * 21
    rows = sources.wild_blocks(name, n_rows * cols // fmt.weights_per_block, rng).reshape(n_rows, -1)
    x = (rng.standard_normal((n_tokens, cols)) * 10.0 ** rng.integers(-6, 6)).astype(np.float32)
    with np.errstate(all="ignore"):
        got = fmt.matmul(rows, cols, x)
        expected = np.array([[product_of_one_row(name, row, vector) for row in rows] for vector in x])
    assert got.dtype == np.float32
    assert same_bits(got, expected)


def test_largest_integers_are_exact() -> None:
    """Q6_K at its bound: every scale -128, every weight -32, every activation 127."""
    fmt = format_named("Q6_K")
    row = np.zeros(210, np.uint8)
    row[192:208] = 128
    row[208:210] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    x = np.full((1, 256), 127, np.float32)
    acc = np.float32(0)
    for _ in range(8):
        acc = acc + np.float32(128 * 32 * 127 * 32)
    assert fmt.matmul(row[None], 256, x)[0, 0] == acc


def test_a_row_that_is_no_whole_block_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Q4_K rows come in blocks of 256 weights, got 288 columns"):
        format_named("Q4_K").row_bytes(288)
    with pytest.raises(ValueError, match=r"expected uint8 \[n_rows, 18\]"):
        format_named("Q4_0").matmul(np.zeros((2, 17), np.uint8), 32, np.zeros((1, 32), np.float32))
    with pytest.raises(ValueError, match="expected one of F32, F16"):
        format_named("Q4_2")
