"""Write a training checkpoint as a GGUF: Q8_0 matrices, F32 norms, the vocabulary, and where the model comes from.

The network already has GGUF's tensor names, shapes and rope pairing, so this only quantises and labels. The file's
bytes depend on the checkpoint alone.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import gguf
import numpy as np
import tokenizer
from network import Config, shapes

LIMIT_BYTES = 8_000_000


def export(checkpoint: Path, out: Path) -> None:
    """Convert the checkpoint file to a GGUF at `out`; refuses a result that is too large for the package."""
    # A file that train.py wrote; pickle is not for files from elsewhere.
    saved = pickle.loads(checkpoint.read_bytes())
    cfg = Config(**saved["config"])
    vocab = tokenizer.Vocabulary(saved["vocab"][tokenizer.N_SPECIAL + tokenizer.N_BYTE :])
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name("Axiom Storyteller")
    writer.add_basename("storyteller")
    writer.add_author("Axiom")
    writer.add_version("1")
    writer.add_size_label(gguf.size_label(sum(int(np.prod(s)) for s in shapes(cfg).values()), 0, 0, 0))
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_tags(["text-generation", "children-stories"])
    writer.add_description(
        "Tells short children's stories. Trained from nothing on text of Axiom's own story generator "
        f"(tools/default_model): {saved['n_token']} tokens, held-out loss {saved['held_out']:.4f} nats per token."
    )
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

    writer.add_vocab_size(cfg.n_vocab)
    writer.add_context_length(cfg.n_ctx)
    writer.add_embedding_length(cfg.n_embd)
    writer.add_block_count(cfg.n_layer)
    writer.add_feed_forward_length(cfg.n_ff)
    writer.add_head_count(cfg.n_head)
    writer.add_head_count_kv(cfg.n_head_kv)
    writer.add_rope_dimension_count(cfg.n_rot)
    writer.add_rope_freq_base(cfg.rope_base)
    writer.add_layer_norm_rms_eps(cfg.norm_eps)

    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(vocab.tokens)
    writer.add_token_scores(vocab.scores)
    writer.add_token_types(vocab.types)
    writer.add_unk_token_id(tokenizer.UNKNOWN)
    writer.add_bos_token_id(tokenizer.BOS)
    writer.add_eos_token_id(tokenizer.EOS)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)

    for name in shapes(cfg):
        value = np.asarray(saved["params"][name], np.float32)
        kind = gguf.GGMLQuantizationType.F32 if value.ndim == 1 else gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if out.stat().st_size > LIMIT_BYTES:
        raise SystemExit(f"{out}: {out.stat().st_size} bytes, the limit is {LIMIT_BYTES}; train a smaller network")
    print(f"{out}: {out.stat().st_size} bytes, step {saved['step']}, {saved['n_token']} tokens, "
          f"held-out loss {saved['held_out']:.4f}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    export(args.checkpoint, args.out)
