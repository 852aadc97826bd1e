"""Train the default model on freshly generated stories; write checkpoints that `export.py` turns into a GGUF.

Matrices are trained with Muon (Jordan et al., 2024), the embedding and the norms with Adam. The rate stays level and
falls in a straight line over the last third, so that a run can be made longer until the fall begins. No story is read
twice. The same settings read the same stories in the same order; the weights still differ in their last bits from
machine to machine, as the matrix products of the framework do.
"""

from __future__ import annotations

import argparse
import pickle
import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import corpus
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tokenizer
from network import Config, Params, init, loss
from optax.contrib import MuonDimensionNumbers, muon

# Stories are made in chunks and sorted by length inside one, so that a batch wastes little on filling up rows.
CHUNK = 2048
# Row lengths are rounded up to this, so that few shapes are compiled.
ROUND = 32
# The rate rises over this many steps, and falls over this share of the run.
WARM_STEPS = 40
FALL = 0.35


def batches(vocab: tokenizer.Vocabulary, n_seq: int) -> Iterator[np.ndarray]:
    """Yield token rows `[n_seq, n_pos + 1]`, each `<s> story </s>` filled up with 0, without end."""
    for start in range(0, corpus.VALIDATION_SEED, CHUNK):
        rows = [[tokenizer.BOS, *vocab.encode(text), tokenizer.EOS] for text in corpus.stories(start, CHUNK)]
        rows.sort(key=len)
        groups = [rows[at : at + n_seq] for at in range(0, CHUNK, n_seq)]
        random.Random(start).shuffle(groups)
        for group in groups:
            yield fill_up(group)


def fill_up(rows: list[list[int]]) -> np.ndarray:
    """Put rows into one array, one longer than a multiple of `ROUND`."""
    n_pos = -(-(max(map(len, rows)) - 1) // ROUND) * ROUND
    out = np.zeros((len(rows), n_pos + 1), np.int32)
    for idx, row in enumerate(rows):
        out[idx, : len(row)] = row
    return out


def rate_factor(done: int, steps: int) -> float:
    """Give the share of the full rate at which the step after `done` steps runs."""
    return min(1.0, done / WARM_STEPS, (steps - done) / (FALL * steps))


def make_optimizer(params: Params, rate: float) -> optax.GradientTransformation:
    """Build the optimizer, at its full rate: Muon for what multiplies, Adam for the embedding and the norms."""
    schedule = optax.constant_schedule(rate)
    numbers = {
        name: MuonDimensionNumbers(reduction_axis=1, output_axis=0)
        if value.ndim == 2 and name.startswith("blk.")
        else None
        for name, value in params.items()
    }
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon(
            schedule,
            weight_decay=0.05,
            adam_learning_rate=optax.constant_schedule(0.25 * rate),
            adam_b2=0.98,
            muon_weight_dimension_numbers=numbers,
        ),
    )


def host(value: Any) -> Any:
    """Move an array to numpy, so that a checkpoint can be read without JAX; leave anything else."""
    return np.asarray(value) if isinstance(value, jax.Array) else value


def main() -> None:
    """Run or continue a training run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("target/default_model"), help="folder for what the run writes"
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8, help="stories per step")
    parser.add_argument("--rate", type=float, default=0.02, help="highest learning rate of the matrices")
    parser.add_argument("--n-vocab", type=int, default=2048)
    parser.add_argument("--vocab-stories", type=int, default=8000, help="stories that the vocabulary is learned from")
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the folder")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    vocab = tokenizer.train(corpus.stories(0, args.vocab_stories), args.n_vocab)
    cfg = Config(n_vocab=len(vocab.tokens))
    held_out = [
        fill_up([[tokenizer.BOS, *vocab.encode(text), tokenizer.EOS] for text in corpus.stories(start, 32)])
        for start in range(corpus.VALIDATION_SEED, corpus.VALIDATION_SEED + 128, 32)
    ]
    params = init(cfg, seed=0)
    optimizer = make_optimizer(params, args.rate)
    state = optimizer.init(params)
    first = 0
    n_token = 0
    spent_s = 0.0
    checkpoint = args.work / "checkpoint.pickle"
    if args.resume:
        # A file that this script wrote itself; pickle is not for files from elsewhere.
        saved = pickle.loads(checkpoint.read_bytes())
        params, state = jax.tree.map(jnp.asarray, (saved["params"], saved["state"]))
        first, n_token, spent_s = saved["step"], saved["n_token"], saved["spent_s"]

    @jax.jit
    def step(
        params: Params, state: optax.OptState, tokens: jax.Array, factor: jax.Array
    ) -> tuple[Params, optax.OptState, jax.Array]:
        value, grads = jax.value_and_grad(loss)(params, tokens, cfg)
        updates, state = optimizer.update(grads, state, params)
        updates = jax.tree.map(lambda update: factor * update, updates)
        return optax.apply_updates(params, updates), state, value

    measure = jax.jit(lambda params, tokens: loss(params, tokens, cfg))
    print(f"{sum(value.size for value in params.values())} weights, {asdict(cfg)}", flush=True)
    started = time.monotonic() - spent_s
    recent: list[float] = []
    stream = batches(vocab, args.batch)
    for idx in range(args.steps):
        tokens = next(stream)
        if idx < first:
            continue
        params, state, value = step(params, state, tokens, jnp.float32(rate_factor(idx, args.steps)))
        recent.append(float(value))
        n_token += int(np.count_nonzero(tokens[:, 1:]))
        done = idx + 1
        if done % 20 == 0 or done == args.steps:
            spent_s = time.monotonic() - started
            print(f"step {done} loss {np.mean(recent):.4f} tokens {n_token} seconds {spent_s:.0f}", flush=True)
            recent.clear()
        if done % args.save_every == 0 or done == args.steps:
            held = float(np.mean([measure(params, rows) for rows in held_out]))
            print(f"step {done} held-out loss {held:.4f}", flush=True)
            saved = {"params": params, "state": state, "step": done, "n_token": n_token, "spent_s": spent_s,
                     "config": asdict(cfg), "vocab": vocab.tokens, "held_out": held}  # fmt: skip
            fresh = checkpoint.with_suffix(".new")
            fresh.write_bytes(pickle.dumps(jax.tree.map(host, saved)))
            fresh.replace(checkpoint)  # a stop in the middle of writing must not cost the run


if __name__ == "__main__":
    main()
