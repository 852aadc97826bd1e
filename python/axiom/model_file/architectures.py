"""What sets one model architecture apart from another, as data.

All three are the Llama block: RMS norm, grouped-query attention with rotary positions, residual, RMS norm, SwiGLU
feed-forward, residual. Sources: the GGUF key and tensor tables of gguf-py, and the papers of the models. To add an
architecture that is this block with other options, add a line to `ARCHITECTURES`; anything else needs code in both
bodies first.
"""

from __future__ import annotations

from typing import Literal

from axiom.model_file.gguf_types import TensorFormat
from axiom.record import Record

__all__ = [
    "ARCHITECTURES",
    "HARMLESS_KEYS",
    "LAYER_MATRICES",
    "NEUTRAL_VALUES",
    "READ_KEYS",
    "SUPPORTED_MATRIX_FORMATS",
    "SUPPORTED_VECTOR_FORMATS",
    "Architecture",
    "RopePairing",
]

RopePairing = Literal["norm", "neox"]
"""In the order of their numbers in an image."""


class Architecture(Record):
    """The options of one architecture."""

    rope_pairing: RopePairing
    """Which elements turn together: "norm" pairs neighbours (2i, 2i + 1), "neox" pairs halves (i, i + rope_dim / 2)."""
    qk_norm: bool
    """Whether queries and keys pass an RMS norm, per head, before the rotation."""


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(rope_pairing="norm", qk_norm=False),
    "qwen2": Architecture(rope_pairing="neox", qk_norm=False),
    "qwen3": Architecture(rope_pairing="neox", qk_norm=True),
}

# The matrices of a layer with their shapes [rows, cols], in names that `model_config` resolves. Each may have a bias of
# `rows` numbers. Between them stand the norms: attn_norm first, ffn_norm before ffn_gate.
LAYER_MATRICES: tuple[tuple[str, str, str], ...] = (
    ("attn_q", "n_q", "n_embd"),
    ("attn_k", "n_kv", "n_embd"),
    ("attn_v", "n_kv", "n_embd"),
    ("attn_output", "n_embd", "n_q"),
    ("ffn_gate", "n_ff", "n_embd"),
    ("ffn_up", "n_ff", "n_embd"),
    ("ffn_down", "n_embd", "n_ff"),
)

SUPPORTED_MATRIX_FORMATS: tuple[TensorFormat, ...] = (
    TensorFormat.F32,
    TensorFormat.F16,
    TensorFormat.BF16,
    TensorFormat.Q8_0,
    TensorFormat.Q4_0,
    TensorFormat.Q4_1,
    TensorFormat.Q5_0,
    TensorFormat.Q5_1,
    TensorFormat.Q2_K,
    TensorFormat.Q3_K,
    TensorFormat.Q4_K,
    TensorFormat.Q5_K,
    TensorFormat.Q6_K,
)

# Norm weights, biases and rope factors; all three widen to f32 without rounding.
SUPPORTED_VECTOR_FORMATS: tuple[TensorFormat, ...] = (TensorFormat.F32, TensorFormat.F16, TensorFormat.BF16)

# Metadata keys below are without the architecture's name in front.

READ_KEYS: frozenset[str] = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.scale",
        "attention.sliding_window",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
        "rope.scaling.type",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_ext_factor",
        "vocab_size",
    }
)

# Keys that say nothing about how logits are computed.
HARMLESS_KEYS: frozenset[str] = frozenset(
    {
        "attention.layer_norm_epsilon",  # of the other kind of norm, which these models do not have
        "pooling_type",  # for embedding models
        "rope.scaling.finetuned",  # how the model was made
        "tensor_data_layout",  # a note of old converters
    }
)

# Keys that ask for something not computed here, with the values that ask for nothing.
NEUTRAL_VALUES: dict[str, tuple[int | float | bool, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.shared_kv_layers": (0,),
    "attention.temperature_scale": (0.0,),
    "attn_logit_softcapping": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "expert_count": (0,),
    "expert_shared_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0.0,),
    "leading_dense_block_count": (0,),
    "logit_scale": (0.0, 1.0),
    "nextn_predict_layers": (0,),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.alpha": (0.0,),
    "rope.scaling.yarn_log_multiplier": (0.0,),
    "use_parallel_residual": (False,),
}
