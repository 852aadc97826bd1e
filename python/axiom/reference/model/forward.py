"""One pass: from tokens to logits, for all sequences at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from axiom.errors import PassStopped
from axiom.model_file.model_config import ModelConfig
from axiom.reference.arithmetic.activation import quantize
from axiom.reference.memory import KVCachePool
from axiom.reference.model.layer import Batch, Span, layer
from axiom.reference.model.norm import rms_norm
from axiom.reference.model.rope import RopeTable
from axiom.reference.model.weights import Weights
from axiom.reference.stop_flag import StopFlag
from axiom.reference.telemetry import LayerClock


def forward(
    config: ModelConfig,
    weights: Weights,
    table: RopeTable,
    cache: KVCachePool,
    seqs: Sequence[int],
    tokens: Sequence[np.ndarray],
    n_logit: Sequence[int],
    clock: LayerClock,
    stop: StopFlag | None = None,
) -> np.ndarray:
    """Appends tokens[i] to sequence seqs[i]; returns logits of its last n_logit[i] positions, f32 [n_rows, n_vocab].

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
        if stop is not None and stop.is_set():
            raise PassStopped("the pass was stopped before its end, as asked; the sequences are as they were")
        h = layer(config, layer_weights, layer_idx, h, batch, cache, clock)

    wanted = [np.arange(span.rows.stop - n, span.rows.stop) for span, n in zip(spans, n_logit, strict=True)]
    h = h[np.concatenate(wanted)]
    if not len(h):
        return np.zeros((0, config.n_vocab), np.float32)
    x = rms_norm(h, weights.output_norm, config.rms_eps)
    rows = np.ascontiguousarray(weights.output.product(quantize(x)))
    clock.output()
    return rows
