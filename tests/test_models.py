"""The random models themselves: what the other tests assume of them."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from tests import vocabularies
from tests.blocks import FORMATS, dequantize, random_blocks, random_tensor, wild_blocks
from tests.models import tensor_format, write_random_model


@pytest.mark.parametrize("fmt", FORMATS)
def test_random_blocks_have_the_wanted_spread_and_no_bias(fmt):
    weights = dequantize(fmt, random_blocks(fmt, 20_000, np.random.default_rng(7), std=0.02))
    assert np.std(weights) == pytest.approx(0.02, rel=0.03)
    assert abs(np.mean(weights)) < 0.001


@pytest.mark.parametrize("fmt", FORMATS)
def test_wild_blocks_are_finite(fmt):
    assert np.isfinite(dequantize(fmt, wild_blocks(fmt, 20_000, np.random.default_rng(7)))).all()


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path):
    first, again, other = (tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf"))
    write_random_model(first, seed=3, metadata={"general.name": "x"})
    write_random_model(again, seed=3, metadata={"general.name": "x"})
    write_random_model(other, seed=4, metadata={"general.name": "x"})
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()


def test_repeated_blocks_leave_no_two_equal_rows():
    rows = random_tensor("Q4_0", 64, 256, np.random.default_rng(0), 1.0, unique_bytes=4096)
    assert len(np.unique(rows, axis=0)) == 64


def test_split_parts_hold_every_tensor_once(tmp_path):
    first = write_random_model(tmp_path / "m.gguf", split=3)
    parts = sorted(tmp_path.glob("*.gguf"))
    assert first == parts[0]
    assert [p.name for p in parts] == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    whole = gguf.GGUFReader(write_random_model(tmp_path / "whole.gguf"))
    names = [t.name for p in parts for t in gguf.GGUFReader(p).tensors]
    assert sorted(names) == sorted(t.name for t in whole.tensors)


@pytest.mark.parametrize("n_vocab", [vocabularies.N_VOCAB_MIN, 300, 1001])
@pytest.mark.parametrize("tokenizer", ["spm", "bpe"])
def test_vocabularies_have_the_asked_size_and_no_double(tmp_path, tokenizer, n_vocab):
    reader = gguf.GGUFReader(write_random_model(tmp_path / "m.gguf", tokenizer=tokenizer, n_vocab=n_vocab))
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == n_vocab == len(set(tokens))


def test_the_usual_mix_gives_more_bits_to_half_of_the_value_and_down_matrices():
    chosen = [tensor_format("Q4_K_M", "ffn_down", i, 16, 512, tied=False) for i in range(16)]
    assert chosen.count("Q6_K") == 8
    assert tensor_format("Q4_K_M", "attn_q", 0, 16, 512, tied=False) == "Q4_K"
    assert tensor_format("Q4_K_M", "attn_q", 0, 16, 576, tied=False) == "Q5_0"
    assert tensor_format("Q4_K_M", "token_embd", 0, 16, 512, tied=True) == "Q6_K"


def test_sizes_that_a_format_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ffn_down.*blocks of 256 weights, 320 is no multiple"):
        write_random_model(tmp_path / "m.gguf", fmt="Q4_K", n_ff=320)
    with pytest.raises(ValueError, match="at least 259 tokens"):
        write_random_model(tmp_path / "m.gguf", n_vocab=100)
