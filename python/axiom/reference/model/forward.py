"""One pass: from tokens to logits, for all sequences at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model_config import ModelConfig
from ..arithmetic.activation import quantize
from ..memory import KVCachePool
from ..telemetry import LayerClock
from .layer import Batch, Span, layer
from .norm import rms_norm
from .rope import RopeTable
from .weights import Weights


def forward(
    config: ModelConfig,
    weights: Weights,
    table: RopeTable,
    cache: KVCachePool,
    seqs: Sequence[int],
    tokens: Sequence[np.ndarray],
    logits: str,
    clock: LayerClock,
) -> np.ndarray:
    """Appends tokens[i] to sequence seqs[i]; returns logits f32 [n_rows, n_vocab] ("last", "all" or "none").

    The cache must have room reserved; the caller commits.
    """
    spans, start = [], 0
    for seq, new in zip(seqs, tokens, strict=True):
        spans.append(Span(seq, slice(start, start + len(new)), cache.length(seq)))
        start += len(new)
    positions = np.concatenate([np.arange(len(new)) + span.first_pos for span, new in zip(spans, tokens, strict=True)])
    batch = Batch(spans, *table.at(positions))

    h = weights.token_embd.values_of_rows(np.concatenate(tokens))  # [n_tokens, n_embd]
    for layer_idx, layer_weights in enumerate(weights.layers):
        h = layer(config, layer_weights, layer_idx, h, batch, cache, clock)

    if logits == "none":
        return np.zeros((0, config.n_vocab), np.float32)
    if logits == "last":
        h = h[[span.rows.stop - 1 for span in spans]]
    x = rms_norm(h, weights.output_norm, config.rms_eps)
    rows = np.ascontiguousarray(weights.output.product(quantize(x)))
    clock.output()
    return rows
