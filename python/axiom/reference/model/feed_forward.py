"""The gated feed-forward (Shazeer 2020, "GLU Variants Improve Transformer": SwiGLU)."""

from __future__ import annotations

import numpy as np

from ..arithmetic.activation import Activations, quantize
from ..arithmetic.elementary import silu
from .weights import LayerWeights


def gate_and_up(weights: LayerWeights, x: Activations) -> Activations:
    """silu(ffn_gate x) * ffn_up x: from n_embd to n_ff, quantised for ffn_down, which brings it back."""
    gate = weights.ffn_gate.product(x)  # [n_tokens, n_ff]
    up = weights.ffn_up.product(x)  # [n_tokens, n_ff]
    return quantize(silu_mul(gate, up))


def silu_mul(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """silu(gate) * up."""
    return silu(gate) * up
