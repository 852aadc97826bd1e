"""The shape of a model, from the header of its file alone: checked numbers and a checked list of tensors.

`ModelConfig.from_gguf` is the one door from what a file says to what an engine may rely on. Afterwards every count is
positive, every head divides, every tensor that the forward pass reads exists with the right shape in a supported
format, and nothing in the file that would change the result has been passed over: a tensor or key that is not
understood is an `UnsupportedModelError`, not a guess.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, get_args

from axiom.errors import ModelFormatError, UnsupportedModelError
from axiom.model_file.architectures import (
    ARCHITECTURES,
    HARMLESS_KEYS,
    LAYER_MATRICES,
    NEUTRAL_VALUES,
    READ_KEYS,
    SUPPORTED_MATRIX_FORMATS,
    SUPPORTED_VECTOR_FORMATS,
    RopePairing,
)
from axiom.model_file.gguf_file import StringArray, TensorInfo
from axiom.model_file.gguf_types import TensorFormat
from axiom.model_file.image_file import ImageFile
from axiom.model_file.metadata import Metadata, shown
from axiom.model_file.model_file import ModelFile
from axiom.record import Record

__all__ = ["KVFormat", "ModelConfig", "RopeScaling", "TensorSpec"]

KVFormat = Literal["f16", "f32"]
RopeScaling = Literal["none", "linear", "yarn"]
"""In the order of their numbers in an image."""

# Rotation tensors of converters before 2024, which every engine recomputes.
_REDUNDANT_TENSOR = re.compile(r"blk\.[0-9]+\.attn_rot_embd\.weight")


class TensorSpec(Record):
    """A tensor that the forward pass reads."""

    name: str
    format: TensorFormat
    rows: int
    cols: int
    is_vector: bool
    """Whether it is a norm weight, a bias or rope factors: one row that is added or multiplied, never a matrix."""

    @property
    def n_bytes(self) -> int:
        """Bytes in the file."""
        return self.rows * self.format.row_bytes(self.cols)


class ModelConfig(Record):
    """What an engine needs to know of a model besides its weights."""

    architecture: str
    n_vocab: int
    n_ctx_train: int
    """Positions that the model was trained for, after any rope scaling in the file."""
    n_embd: int
    n_layer: int
    n_ff: int
    n_head: int
    n_head_kv: int
    head_dim: int
    rope_dim: int
    rope_base: float
    rope_pairing: RopePairing
    rope_scaling: RopeScaling
    rope_factor: float
    """Positions are divided by it ("linear"), or slow frequencies are ("yarn"); 1.0 for "none"."""
    rope_original_ctx: int
    """Context before yarn scaling; equal to `n_ctx_train` where the file does not say."""
    rope_attn_factor: float
    """Times 1 + 0.1 ln(rope_factor), what "yarn" multiplies sine and cosine by; 1.0 for the others."""
    rope_beta_fast: float
    rope_beta_slow: float
    rope_ext_factor: float
    has_rope_freqs: bool
    rms_eps: float
    tied_output: bool
    """Whether the output head is the token embedding, for want of `output.weight`."""
    qk_norm: bool
    sliding_window: int | None
    """Positions that attention sees, if fewer than `n_ctx_train`. The engine computes full attention, which is the
    same up to this many positions; `axiom.capacity` refuses a longer context."""
    tensors: tuple[TensorSpec, ...]
    """Every tensor that the forward pass reads: embedding, layers from the first to the last, norm, head."""

    def __repr__(self) -> str:
        """Show the numbers, and how many tensors there are."""
        numbers = ", ".join(f"{name}={value!r}" for name, value in self.as_dict().items())
        return f"ModelConfig({numbers}, tensors=<{len(self.tensors)}>)"

    @classmethod
    def from_gguf(cls, gguf: ModelFile) -> ModelConfig:
        """Check the header of `gguf` and return its configuration.

        Raises `ModelFormatError` where the header contradicts itself, `UnsupportedModelError` where it is sound but
        asks for what is not computed here.
        """
        if not isinstance(gguf, ModelFile):
            raise TypeError(
                f"gguf: expected an axiom.GGUFFile or an axiom.ImageFile, got {gguf!r:.80}; open the file first"
            )
        config = _read_config(gguf)
        if isinstance(gguf, ImageFile):
            gguf.check_config(config.as_numbers())
        return config

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers without the tensor list, as the engines take them."""
        fields = self.fields()
        del fields["tensors"]
        return fields

    def as_numbers(self) -> dict[str, int | float]:
        """Return what the header of an image has of them, in its order and its numbers (docs/image.md)."""
        return {
            "n_vocab": self.n_vocab,
            "n_embd": self.n_embd,
            "n_layer": self.n_layer,
            "n_ff": self.n_ff,
            "n_head": self.n_head,
            "n_head_kv": self.n_head_kv,
            "head_dim": self.head_dim,
            "rope_dim": self.rope_dim,
            "rope_base": self.rope_base,
            "rope_pairing": get_args(RopePairing).index(self.rope_pairing),
            "rope_scaling": get_args(RopeScaling).index(self.rope_scaling),
            "rope_factor": self.rope_factor,
            "rope_original_ctx": self.rope_original_ctx,
            "rope_attn_factor": self.rope_attn_factor,
            "rope_beta_fast": self.rope_beta_fast,
            "rope_beta_slow": self.rope_beta_slow,
            "rope_ext_factor": self.rope_ext_factor,
            "rms_eps": self.rms_eps,
            "flags": self.tied_output | self.qk_norm << 1,
        }

    def kv_bytes_per_position(self, kv: KVFormat) -> int:
        """Bytes of keys and values that one position of one sequence takes."""
        return 2 * self.n_layer * self.n_head_kv * self.head_dim * (2 if kv == "f16" else 4)

    @property
    def n_weights(self) -> int:
        """Number of parameters; a tied output head counts once."""
        return sum(spec.rows * spec.cols for spec in self.tensors)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in the file."""
        return sum(spec.n_bytes for spec in self.tensors)

    @property
    def n_ctx_max(self) -> int:
        """The longest context in which results are the model's own."""
        return self.n_ctx_train if self.sliding_window is None else min(self.n_ctx_train, self.sliding_window)


def _read_config(gguf: ModelFile) -> ModelConfig:
    architecture = Metadata(gguf.metadata, gguf.path.name, "").text("general.architecture")
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedModelError(
            f"{gguf.path.name}: general.architecture: expected one of {known}, got {architecture!r}; "
            "use a model of one of these families"
        )
    if not gguf.tensors:
        raise ModelFormatError(
            f"{gguf.path.name}: expected weights, got a header without tensors; "
            "a vocabulary-only file serves axiom.Tokenizer alone, give the file of the whole model to run it"
        )
    options = ARCHITECTURES[architecture]
    keys = Metadata(gguf.metadata, gguf.path.name, architecture + ".")
    n_layer = keys.count("block_count", most=1 << 16)
    n_embd = keys.count("embedding_length")
    n_head = keys.count("attention.head_count", per_layer=n_layer)
    n_head_kv = keys.count("attention.head_count_kv", default=n_head, per_layer=n_layer)
    if n_head % n_head_kv:
        raise keys.error("attention.head_count_kv", f"a divisor of the {n_head} heads", str(n_head_kv))
    head_dim = _head_dim(keys, n_embd, n_head)
    n_ctx_train = keys.count("context_length")
    scaling = _rope_scaling(keys, n_ctx_train)
    window = keys.count("attention.sliding_window", default=0, least=0)
    _check_other_keys(keys, head_dim)
    tensors = _TensorChecker(gguf)
    embedding = gguf.tensors.get("token_embd.weight")
    n_vocab = _n_vocab(gguf, keys, embedding)
    shape = {"n_q": n_head * head_dim, "n_kv": n_head_kv * head_dim, "n_embd": n_embd}
    shape["n_ff"] = keys.count("feed_forward_length", per_layer=n_layer)
    tensors.matrix("token_embd.weight", n_vocab, n_embd)
    for layer in range(n_layer):
        _check_layer(tensors, f"blk.{layer}.", shape, head_dim if options.qk_norm else None)
    tensors.vector("output_norm.weight", n_embd)
    tied_output = not tensors.matrix("output.weight", n_vocab, n_embd, optional=True)
    tensors.vector("output.bias", n_vocab, optional=True)
    has_rope_freqs = tensors.vector("rope_freqs.weight", head_dim // 2, optional=True)
    tensors.check_none_left()
    return ModelConfig(
        architecture=architecture,
        n_vocab=n_vocab,
        n_ctx_train=n_ctx_train,
        n_embd=n_embd,
        n_layer=n_layer,
        n_ff=shape["n_ff"],
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_dim=head_dim,
        rope_dim=head_dim,
        rope_base=keys.number("rope.freq_base", default=10000.0),
        rope_pairing=options.rope_pairing,
        has_rope_freqs=has_rope_freqs,
        rms_eps=keys.number("attention.layer_norm_rms_epsilon"),
        tied_output=tied_output,
        qk_norm=options.qk_norm,
        sliding_window=window if 0 < window < n_ctx_train else None,
        tensors=tuple(tensors.specs),
        **scaling,
    )


def _head_dim(keys: Metadata, n_embd: int, n_head: int) -> int:
    default = n_embd // n_head if n_embd % n_head == 0 else None
    head_dim = keys.count("attention.key_length", default=default)
    value_length = keys.count("attention.value_length", default=head_dim if default is None else default)
    rope_dim = keys.count("rope.dimension_count", default=head_dim)
    if head_dim % 2:
        raise keys.error("attention.key_length", "an even number, since dimensions turn in pairs", str(head_dim))
    if value_length != head_dim:
        raise keys.unsupported("attention.value_length", f"{head_dim}, the length of a key", str(value_length))
    if rope_dim != head_dim:
        raise keys.unsupported("rope.dimension_count", f"{head_dim}, the length of a head", str(rope_dim))
    return head_dim


def _rope_scaling(keys: Metadata, n_ctx_train: int) -> dict[str, Any]:
    """Read the rope scaling; an absent type with a factor is linear, as in the files from before types."""
    kind = keys.text("rope.scaling.type", default="linear")
    if kind not in ("none", "linear", "yarn"):
        raise keys.unsupported("rope.scaling.type", "none, linear or yarn", repr(kind))
    factor = keys.number(
        "rope.scaling.factor", default=keys.number("rope.scale_linear", default=1.0, least=0.0), least=0.0
    )
    factor = 1.0 if factor == 0.0 or kind == "none" else factor
    ext_factor = keys.number("rope.scaling.yarn_ext_factor", default=1.0, least=0.0) if kind == "yarn" else 0.0
    attn_factor = keys.number("rope.scaling.attn_factor", default=1.0)
    if attn_factor != 1.0 and ext_factor == 0.0:
        raise keys.unsupported("rope.scaling.attn_factor", "1.0 without yarn scaling", f"{attn_factor:g}")
    return {
        "rope_scaling": "none" if kind == "linear" and factor == 1.0 else kind,
        "rope_factor": factor,
        "rope_original_ctx": keys.count("rope.scaling.original_context_length", default=n_ctx_train),
        "rope_attn_factor": attn_factor,
        "rope_beta_fast": keys.number("rope.scaling.yarn_beta_fast", default=32.0),
        "rope_beta_slow": keys.number("rope.scaling.yarn_beta_slow", default=1.0),
        "rope_ext_factor": ext_factor,
    }


def _check_other_keys(keys: Metadata, head_dim: int) -> None:
    """Refuse keys that ask for what is not computed here, and keys that nobody here has heard of."""
    scale = keys.number("attention.scale", default=0.0, least=0.0)
    if scale and not math.isclose(scale, 1 / math.sqrt(head_dim), rel_tol=1e-6):
        raise keys.unsupported("attention.scale", f"1 / sqrt({head_dim})", f"{scale:g}")
    for key, value in keys.items():
        if key in READ_KEYS or key in HARMLESS_KEYS:
            continue
        neutral = NEUTRAL_VALUES.get(key)
        if neutral is None:
            raise keys.unsupported(key, "no such key", shown(value))
        if not isinstance(value, bool | int | float) or value not in neutral:
            raise keys.unsupported(key, " or ".join(map(str, neutral)), shown(value))


def _n_vocab(gguf: ModelFile, keys: Metadata, embedding: TensorInfo | None) -> int:
    """Count the vocabulary: the token list, which must agree with the embedding; without a list, the embedding."""
    n_vocab = keys.count("vocab_size", default=embedding.shape[0] if embedding else None)
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, StringArray):
        n_vocab = len(tokens)
    if n_vocab < 1:
        raise keys.error("vocab_size", "a vocabulary of 1 token or more", str(n_vocab))
    return n_vocab


def _check_layer(tensors: _TensorChecker, prefix: str, shape: dict[str, int], qk_norm_dim: int | None) -> None:
    n_embd = shape["n_embd"]
    tensors.vector(prefix + "attn_norm.weight", n_embd)
    for name, rows, cols in LAYER_MATRICES:
        if name == "ffn_gate":
            tensors.vector(prefix + "ffn_norm.weight", n_embd)
        tensors.matrix(f"{prefix}{name}.weight", shape[rows], shape[cols])
        tensors.vector(f"{prefix}{name}.bias", shape[rows], optional=True)
        if qk_norm_dim is not None and name in ("attn_q", "attn_k"):
            tensors.vector(f"{prefix}{name}_norm.weight", qk_norm_dim)


class _TensorChecker:
    """Ticks off the tensors of a file one by one, and then knows which ones nothing has asked for."""

    def __init__(self, gguf: ModelFile):
        self.file_name = gguf.path.name
        self.left = dict(gguf.tensors)
        self.specs: list[TensorSpec] = []

    def matrix(self, name: str, rows: int, cols: int, *, optional: bool = False) -> bool:
        return self._take(name, (rows, cols), SUPPORTED_MATRIX_FORMATS, optional)

    def vector(self, name: str, n: int, *, optional: bool = False) -> bool:
        return self._take(name, (n,), SUPPORTED_VECTOR_FORMATS, optional)

    def _take(self, name: str, shape: tuple[int, ...], formats: tuple[TensorFormat, ...], optional: bool) -> bool:
        info = self.left.pop(name, None)
        if info is None:
            if optional:
                return False
            raise ModelFormatError(
                f"{self.file_name}: tensor {name!r}: expected shape {list(shape)}, got no such tensor; "
                "the file is incomplete, or its metadata belong to another model: convert it again"
            )
        # A file may drop or add outer dimensions of 1, which say nothing.
        if tuple(d for d in info.shape if d != 1) != tuple(d for d in shape if d != 1) or info.shape[-1] != shape[-1]:
            raise ModelFormatError(
                f"{self.file_name}: tensor {name!r} at byte {info.offset}: expected shape {list(shape)}, got "
                f"{list(info.shape)}; the file is damaged, or its metadata belong to another model: convert it again"
            )
        if info.format not in formats:
            known = ", ".join(f.name for f in formats)
            raise UnsupportedModelError(
                f"{self.file_name}: tensor {name!r}: expected one of the formats {known}, got {info.format.name}; "
                "use a file quantised to one of these, such as Q4_K_M"
            )
        rows = shape[0] if len(shape) == 2 else 1
        self.specs.append(TensorSpec(name, info.format, rows, shape[-1], is_vector=len(shape) == 1))
        return True

    def check_none_left(self) -> None:
        extra = [name for name in self.left if not _REDUNDANT_TENSOR.fullmatch(name)]
        if extra:
            more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
            raise UnsupportedModelError(
                f"{self.file_name}: tensor {extra[0]!r}{more}: expected only the tensors of this architecture, got one "
                "that the engine would have to ignore; use a model without it, or a later version of axiom"
            )
