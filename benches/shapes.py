"""Writes GGUF files of the shapes of well-known models, with random weights.

Speed depends on shapes and formats, not on what was learnt, so these files are what the benches time: they need no
download and anyone can write the same bytes.

    python -m benches.shapes tinyllama-1.1b Q4_0 out.gguf
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import gguf

from tests.models import write_random_model

# From the config.json of each model as published.
SHAPES: dict[str, dict[str, Any]] = {
    "smollm2-135m": {
        "arch": "llama", "n_layer": 30, "n_embd": 576, "n_head": 9, "n_head_kv": 3, "n_ff": 1536,
        "n_vocab": 49152, "n_ctx": 8192, "tied": True, "rope_base": 100000.0, "tokenizer": "bpe", "pre": "smollm",
    },
    "smollm2-1.7b": {
        "arch": "llama", "n_layer": 24, "n_embd": 2048, "n_head": 32, "n_head_kv": 32, "n_ff": 8192,
        "n_vocab": 49152, "n_ctx": 8192, "tied": True, "rope_base": 130000.0, "tokenizer": "bpe", "pre": "smollm",
    },
    "tinyllama-1.1b": {
        "arch": "llama", "n_layer": 22, "n_embd": 2048, "n_head": 32, "n_head_kv": 4, "n_ff": 5632,
        "n_vocab": 32000, "n_ctx": 2048,
    },
    "llama-2-7b": {
        "arch": "llama", "n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 32, "n_ff": 11008,
        "n_vocab": 32000, "n_ctx": 4096,
    },
    "llama-3.1-8b": {
        "arch": "llama", "n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336,
        "n_vocab": 128256, "n_ctx": 131072, "rope_base": 500000.0, "rope_freqs": True,
        "tokenizer": "bpe", "pre": "llama-bpe",
    },
    "qwen2.5-0.5b": {
        "arch": "qwen2", "n_layer": 24, "n_embd": 896, "n_head": 14, "n_head_kv": 2, "n_ff": 4864,
        "n_vocab": 151936, "n_ctx": 32768, "tied": True, "rope_base": 1000000.0, "rms_eps": 1e-6,
        "tokenizer": "bpe", "pre": "qwen2",
    },
    "qwen3-0.6b": {
        "arch": "qwen3", "n_layer": 28, "n_embd": 1024, "n_head": 16, "n_head_kv": 8, "head_dim": 128, "n_ff": 3072,
        "n_vocab": 151936, "n_ctx": 40960, "tied": True, "rope_base": 1000000.0, "rms_eps": 1e-6,
        "tokenizer": "bpe", "pre": "qwen2",
    },
    "qwen3-4b": {
        "arch": "qwen3", "n_layer": 36, "n_embd": 2560, "n_head": 32, "n_head_kv": 8, "head_dim": 128, "n_ff": 9728,
        "n_vocab": 151936, "n_ctx": 40960, "tied": True, "rope_base": 1000000.0, "rms_eps": 1e-6,
        "tokenizer": "bpe", "pre": "qwen2",
    },
}  # fmt: skip
# Enough drawn bytes per tensor that no cache level holds a tensor's repeat as anything but new addresses.
UNIQUE_BYTES = 4 << 20


def file_type(fmt: str) -> int:
    """The number that converters write for `fmt`, and that some readers ask for."""
    names = (f"MOSTLY_{fmt}", f"MOSTLY_{fmt}_S", f"ALL_{fmt}")
    return next(int(kind) for kind in gguf.LlamaFileType if kind.name in names)


def write_shape(name: str, fmt: str, path: Path, **overrides: Any) -> Path:
    """Writes the model `name` of SHAPES in `fmt` (a format or mix of tests.models) to `path`."""
    if name not in SHAPES:
        raise ValueError(f"no shape {name!r}; one of {', '.join(SHAPES)}")
    metadata = {"general.file_type": file_type(fmt)}
    settings = {"fmt": fmt, "unique_bytes": UNIQUE_BYTES, "metadata": metadata, **SHAPES[name], **overrides}
    return write_random_model(path, **settings)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.shapes", description=__doc__.split("\n\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("format", help="Q4_0, Q8_0, Q4_K_M, F16, ...")
    parser.add_argument("path", type=Path)
    parser.add_argument("--n-layer", type=int, help="fewer or more layers than the model has")
    parser.add_argument("--tokenizer", choices=("spm", "bpe"), help="another kind of vocabulary than the model has")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    overrides = {"seed": args.seed} | ({"n_layer": args.n_layer} if args.n_layer else {})
    overrides |= {"tokenizer": args.tokenizer} if args.tokenizer else {}
    started = time.monotonic()
    path = write_shape(args.shape, args.format, args.path, **overrides)
    seconds = time.monotonic() - started
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s")


if __name__ == "__main__":
    main()
