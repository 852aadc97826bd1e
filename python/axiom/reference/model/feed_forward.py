"""The gated feed-forward (Shazeer 2020, "GLU Variants Improve Transformer": SwiGLU)."""

from __future__ import annotations

import numpy as np

from ..arithmetic.activation import Activations, quantize
from ..arithmetic.elementary import silu
from .weights import LayerWeights


def feed_forward(weights: LayerWeights, x: Activations) -> np.ndarray:
    """ffn_down (silu(ffn_gate x) * ffn_up x): from n_embd to n_ff and back, f32 [n_tokens, n_embd]."""
    gate = weights.ffn_gate.product(x)  # [n_tokens, n_ff]
    up = weights.ffn_up.product(x)  # [n_tokens, n_ff]
    return weights.ffn_down.product(quantize(silu_mul(gate, up)))


def silu_mul(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """silu(gate) * up."""
    return silu(gate) * up
