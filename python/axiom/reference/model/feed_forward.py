"""The gated feed-forward (Shazeer 2020, "GLU Variants Improve Transformer": SwiGLU)."""

from __future__ import annotations

import numpy as np

from axiom.reference.arithmetic.activation import Activations
from axiom.reference.arithmetic.elementary import silu
from axiom.reference.model.weights import LayerWeights


def gate_and_up(weights: LayerWeights, x: Activations) -> tuple[np.ndarray, np.ndarray]:
    """The products ffn_gate x and ffn_up x, f32 [n_tokens, n_ff]."""
    return weights.ffn_gate.product(x), weights.ffn_up.product(x)


def silu_mul(gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    """silu(gate) * up: what ffn_down, once it is quantised, brings back to n_embd."""
    return silu(gate) * up
