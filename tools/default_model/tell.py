"""Tell stories from the GGUF, with numpy alone: a check of the file itself, independent of the engine and of JAX.

The weights are read back as the file holds them, quantised; the arithmetic on them is plain float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import corpus
import gguf
import numpy as np
import tokenizer


class Teller:
    """The network of one GGUF file with a key-value cache for one story at a time."""

    def __init__(self, path: Path) -> None:
        """Read and dequantise the file."""
        reader = gguf.GGUFReader(path)
        self.weight = {one.name: gguf.quants.dequantize(one.data, one.tensor_type) for one in reader.tensors}

        def field(key: str) -> Any:
            return reader.fields[key].contents()

        self.vocab = tokenizer.Vocabulary(field("tokenizer.ggml.tokens")[tokenizer.N_SPECIAL + tokenizer.N_BYTE :])
        self.n_layer: int = field("llama.block_count")
        self.n_head: int = field("llama.attention.head_count")
        self.n_head_kv: int = field("llama.attention.head_count_kv")
        self.n_rot: int = field("llama.rope.dimension_count")
        self.n_ctx: int = field("llama.context_length")
        self.eps: float = field("llama.attention.layer_norm_rms_epsilon")
        self.inv_freq = field("llama.rope.freq_base") ** (-np.arange(0, self.n_rot, 2) / self.n_rot)
        self.clear()

    def clear(self) -> None:
        """Forget the story so far."""
        self.keys = np.zeros((self.n_layer, self.n_ctx, self.n_head_kv, self.n_rot), np.float32)
        self.values = np.zeros_like(self.keys)
        self.n_pos = 0

    def _norm(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.mean(x * x) + np.float32(self.eps)) * weight

    def _rope(self, x: np.ndarray) -> np.ndarray:
        angle = self.n_pos * self.inv_freq
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        even, odd = x[:, 0::2], x[:, 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)

    def step(self, token: int) -> np.ndarray:
        """Read one token and give the logits `[n_vocab]` of the next."""
        w = self.weight
        x = w["token_embd.weight"][token]
        for layer in range(self.n_layer):
            b = f"blk.{layer}."
            h = self._norm(x, w[b + "attn_norm.weight"])
            q = self._rope((w[b + "attn_q.weight"] @ h).reshape(self.n_head, self.n_rot))
            self.keys[layer, self.n_pos] = self._rope((w[b + "attn_k.weight"] @ h).reshape(self.n_head_kv, self.n_rot))
            self.values[layer, self.n_pos] = (w[b + "attn_v.weight"] @ h).reshape(self.n_head_kv, self.n_rot)
            q = q.reshape(self.n_head_kv, -1, self.n_rot)
            score = np.einsum("kgd,tkd->kgt", q, self.keys[layer, : self.n_pos + 1]) / np.float32(self.n_rot**0.5)
            share = np.exp(score - score.max(axis=-1, keepdims=True))
            share /= share.sum(axis=-1, keepdims=True)
            mixed = np.einsum("kgt,tkd->kgd", share, self.values[layer, : self.n_pos + 1])
            x = x + w[b + "attn_output.weight"] @ mixed.reshape(-1)
            h = self._norm(x, w[b + "ffn_norm.weight"])
            gate = w[b + "ffn_gate.weight"] @ h
            x = x + w[b + "ffn_down.weight"] @ (gate / (1 + np.exp(-gate)) * (w[b + "ffn_up.weight"] @ h))
        self.n_pos += 1
        return w["token_embd.weight"] @ self._norm(x, w["output_norm.weight"])

    def tell(self, prompt: str, temperature: float, seed: int, max_tokens: int = 400) -> tuple[str, bool, list[float]]:
        """Continue a prompt; give the text, whether it came to its end, and the logit margin at each token."""
        rng = np.random.default_rng(seed)
        self.clear()
        tokens = [tokenizer.BOS, *self.vocab.encode(prompt)]
        for token in tokens:
            logits = self.step(token)
        margins: list[float] = []
        while len(margins) < max_tokens and self.n_pos < self.n_ctx:
            second, first = np.sort(logits)[-2:]
            margins.append(float(first - second))
            if temperature == 0.0:
                token = int(np.argmax(logits))
            else:
                share = np.exp((logits - logits.max()).astype(np.float64) / temperature)
                token = int(rng.choice(len(share), p=share / share.sum()))
            if token == tokenizer.EOS:
                return self.vocab.decode(tokens), True, margins
            tokens.append(token)
            logits = self.step(token)
        return self.vocab.decode(tokens), False, margins


def main() -> None:
    """Tell stories and count the slips in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts", nargs="*", default=["Once upon a time"])
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--count", type=int, default=1, help="stories per prompt")
    args = parser.parse_args()
    teller = Teller(args.model)
    for prompt in args.prompts:
        for seed in range(args.count):
            text, ended, margins = teller.tell(prompt, args.temperature, seed)
            print(text)
            print(f"[{'ended' if ended else 'NOT ENDED'}, {len(margins)} tokens, least margin of the first 64 "
                  f"{min(margins[:64]):.3f}, slips {corpus.slips(text)}]\n")  # fmt: skip


if __name__ == "__main__":
    main()
