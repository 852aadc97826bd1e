"""One layer (docs/arithmetic.md, section 5): attention and feed-forward, each added to the residual stream."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic.activation import quantize
from axiom.reference.memory import KVCachePool
from axiom.reference.model.attention import attention
from axiom.reference.model.feed_forward import gate_and_up, silu_mul
from axiom.reference.model.norm import rms_norm
from axiom.reference.model.rope import rope
from axiom.reference.model.weights import LayerWeights
from axiom.reference.telemetry import LayerClock


class Span(NamedTuple):
    """The rows of a pass that belong to one sequence."""

    seq: int
    rows: slice
    first_pos: int


class Batch(NamedTuple):
    """All sequences of a pass: their rows lie one after the other."""

    spans: list[Span]
    cos: np.ndarray  # f32 [n_tokens, rope_dim / 2]
    sin: np.ndarray  # f32 [n_tokens, rope_dim / 2]


def layer(
    config: ModelConfig,
    weights: LayerWeights,
    layer_idx: int,
    h: np.ndarray,
    batch: Batch,
    cache: KVCachePool,
    clock: LayerClock,
) -> np.ndarray:
    """Takes the residual stream h, f32 [n_tokens, n_embd], through one layer; writes its keys and values."""
    n_tokens = len(h)
    n_head, n_head_kv, head_dim = config.n_head, config.n_head_kv, config.head_dim

    clock.begin()
    x = quantize(rms_norm(h, weights.attn_norm, config.rms_eps))
    clock.note("rms_us")
    q = weights.attn_q.product(x).reshape(n_tokens, n_head, head_dim)
    k = weights.attn_k.product(x).reshape(n_tokens, n_head_kv, head_dim)
    v = weights.attn_v.product(x).reshape(n_tokens, n_head_kv, head_dim)
    if weights.attn_q_norm is not None and weights.attn_k_norm is not None:
        q = rms_norm(q, weights.attn_q_norm, config.rms_eps)
        k = rms_norm(k, weights.attn_k_norm, config.rms_eps)
    q = rope(q, batch.cos, batch.sin, config.rope_pairing)
    k = rope(k, batch.cos, batch.sin, config.rope_pairing)

    a = np.empty_like(q)
    for seq, rows, first_pos in batch.spans:
        cache.write(seq, layer_idx, k[rows], v[rows])
        a[rows] = attention(q[rows], first_pos, cache.tiles(seq, layer_idx))
    h = h + weights.attn_output.product(quantize(a.reshape(n_tokens, n_head * head_dim)))
    clock.note("attn_us")

    x = quantize(rms_norm(h, weights.ffn_norm, config.rms_eps))
    clock.note("rms_us")
    gate, up = gate_and_up(weights, x)
    clock.note("ffn_proj_us")
    gated = quantize(silu_mul(gate, up))
    clock.note("ffn_act_us")
    h = h + weights.ffn_down.product(gated)
    clock.note("ffn_down_us")
    clock.end_layer(layer_idx)
    return h
