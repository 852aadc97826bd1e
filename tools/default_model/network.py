"""The network that is trained: a Llama-architecture transformer, written in JAX.

Source: Touvron et al., "LLaMA: Open and Efficient Foundation Language Models" (2023), section 2.2; grouped-query
attention from Ainslie et al. (2023). Weights are kept as `[n_out, n_in]`, the way a GGUF file stores them, and rope
turns adjacent pairs (the "NORM" pairing of GGUF's `llama` architecture), so that export copies and permutes nothing.
There is no dropout: every story is seen once, so the run cannot overfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

Params = dict[str, jax.Array]


@dataclass(frozen=True)
class Config:
    """Sizes of the network; the names are those of the GGUF keys."""

    n_vocab: int = 2048
    n_embd: int = 128
    n_layer: int = 4
    n_head: int = 4
    n_head_kv: int = 2
    n_ff: int = 384
    n_ctx: int = 512
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def n_rot(self) -> int:
        """Size of one head; rope turns all of it."""
        return self.n_embd // self.n_head


def shapes(cfg: Config) -> dict[str, tuple[int, ...]]:
    """Give every tensor's shape under its GGUF name; the output head is the embedding (tied)."""
    kv = cfg.n_head_kv * cfg.n_rot
    out: dict[str, tuple[int, ...]] = {"token_embd.weight": (cfg.n_vocab, cfg.n_embd)}
    for layer in range(cfg.n_layer):
        out |= {
            f"blk.{layer}.attn_norm.weight": (cfg.n_embd,),
            f"blk.{layer}.attn_q.weight": (cfg.n_embd, cfg.n_embd),
            f"blk.{layer}.attn_k.weight": (kv, cfg.n_embd),
            f"blk.{layer}.attn_v.weight": (kv, cfg.n_embd),
            f"blk.{layer}.attn_output.weight": (cfg.n_embd, cfg.n_embd),
            f"blk.{layer}.ffn_norm.weight": (cfg.n_embd,),
            f"blk.{layer}.ffn_gate.weight": (cfg.n_ff, cfg.n_embd),
            f"blk.{layer}.ffn_up.weight": (cfg.n_ff, cfg.n_embd),
            f"blk.{layer}.ffn_down.weight": (cfg.n_embd, cfg.n_ff),
        }
    return out | {"output_norm.weight": (cfg.n_embd,)}


def init(cfg: Config, seed: int) -> Params:
    """Draw the starting weights: norms are one, matrices normal; those that write the residual stream start smaller."""
    rng = np.random.default_rng(seed)
    params = {}
    for name, shape in shapes(cfg).items():
        if len(shape) == 1:
            value = np.ones(shape)
        else:
            std = 0.02 if name == "token_embd.weight" else shape[1] ** -0.5
            if name.endswith(("attn_output.weight", "ffn_down.weight")):
                std /= (2 * cfg.n_layer) ** 0.5
            value = rng.normal(0.0, std, shape)
        params[name] = jnp.asarray(value, jnp.float32)
    return params


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
    """Scale each vector to root mean square one, then by `weight`."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rope(x: jax.Array, cfg: Config) -> jax.Array:
    """Turn each adjacent pair of `x` `[n_seq, n_pos, n_head, n_rot]` by its position's angle.

    The pair `(a, b)` becomes `(a cos - b sin, b cos + a sin)`. The swap `(a, b) -> (-b, a)` is a product with a
    constant matrix, whose gradient is a product too; strided slices cost far more on the way back.
    """
    n_pos, n_rot = x.shape[1], x.shape[3]
    angle = np.outer(np.arange(n_pos), cfg.rope_base ** (-np.arange(0, n_rot, 2) / n_rot)).repeat(2, axis=1)
    swap = np.zeros((n_rot, n_rot), np.float32)
    swap[np.arange(1, n_rot, 2), np.arange(0, n_rot, 2)] = -1
    swap[np.arange(0, n_rot, 2), np.arange(1, n_rot, 2)] = 1
    cos, sin = (jnp.asarray(part[None, :, None, :], x.dtype) for part in (np.cos(angle), np.sin(angle)))
    return x * cos + (x @ swap) * sin


def _weigh(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    n_pos = k.shape[2]
    mask = jnp.tril(jnp.ones((n_pos, n_pos), jnp.float32))
    group = q.shape[2] // n_pos
    share = jnp.exp(jnp.minimum(q @ k.swapaxes(-1, -2), 60.0)) * jnp.tile(mask, (group, 1))
    total = jnp.sum(share, axis=-1, keepdims=True)
    return share, total, (share @ v) / total


@jax.custom_vjp
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Mix `v` `[n_seq, n_head_kv, n_pos, n_rot]` by the causal softmax of `q k`; `q` holds its group's heads in turn.

    Scores stay small here, so that the softmax needs no maximum; the cap only guards against overflow. The gradient is
    written by hand in the way of FlashAttention (Dao et al., 2022): it reads the square of scores twice, not ten times.
    """
    return _weigh(q, k, v)[2]


def _attend_forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    share, total, out = _weigh(q, k, v)
    return out, (q, k, v, share, total, out)


def _attend_backward(saved: tuple[jax.Array, ...], d_out: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    q, k, v, share, total, out = saved
    d_sum = d_out / total
    d_score = share * (d_sum @ v.swapaxes(-1, -2) - jnp.sum(d_sum * out, axis=-1, keepdims=True))
    return d_score @ k, d_score.swapaxes(-1, -2) @ q, share.swapaxes(-1, -2) @ d_sum


attend.defvjp(_attend_forward, _attend_backward)


def forward(params: Params, tokens: jax.Array, cfg: Config) -> jax.Array:
    """Compute logits `[n_seq, n_pos, n_vocab]` for `tokens` `[n_seq, n_pos]`, one story from position 0 on in a row."""
    n_seq, n_pos = tokens.shape
    kv = cfg.n_head_kv

    def heads(x: jax.Array) -> jax.Array:
        """Regroup `[n_seq, n_pos, n_head, n_rot]` as `[n_seq, n_head_kv, group * n_pos, n_rot]`."""
        return x.reshape(n_seq, n_pos, kv, -1, cfg.n_rot).transpose(0, 2, 3, 1, 4).reshape(n_seq, kv, -1, cfg.n_rot)

    x = params["token_embd.weight"][tokens]
    for layer in range(cfg.n_layer):
        w = {
            name: params[f"blk.{layer}.{name}.weight"]
            for name in (
                "attn_norm",
                "attn_q",
                "attn_k",
                "attn_v",
                "attn_output",
                "ffn_norm",
                "ffn_gate",
                "ffn_up",
                "ffn_down",
            )
        }
        h = rms_norm(x, w["attn_norm"], cfg.norm_eps)
        q = rope((h @ w["attn_q"].T).reshape(n_seq, n_pos, cfg.n_head, cfg.n_rot), cfg) * cfg.n_rot**-0.5
        k = rope((h @ w["attn_k"].T).reshape(n_seq, n_pos, kv, cfg.n_rot), cfg)
        v = (h @ w["attn_v"].T).reshape(n_seq, n_pos, kv, cfg.n_rot)
        mixed = attend(heads(q), heads(k), heads(v))
        mixed = (
            mixed.reshape(n_seq, kv, -1, n_pos, cfg.n_rot).transpose(0, 3, 1, 2, 4).reshape(n_seq, n_pos, cfg.n_embd)
        )
        x = x + mixed @ w["attn_output"].T
        h = rms_norm(x, w["ffn_norm"], cfg.norm_eps)
        x = x + (jax.nn.silu(h @ w["ffn_gate"].T) * (h @ w["ffn_up"].T)) @ w["ffn_down"].T
    return rms_norm(x, params["output_norm.weight"], cfg.norm_eps) @ params["token_embd.weight"].T


def loss(params: Params, tokens: jax.Array, cfg: Config) -> jax.Array:
    """Give the mean cross-entropy in nats per token; rows are filled up with token 0, which is not counted."""
    logits = forward(params, tokens[:, :-1], cfg)
    target = tokens[:, 1:]
    counted = target != 0
    picked = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    nll = jax.nn.logsumexp(logits, axis=-1) - picked
    return jnp.sum(nll * counted) / jnp.maximum(jnp.sum(counted), 1)
