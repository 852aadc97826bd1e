"""How the comparison bench finds ik_llama.cpp and drives it, shown with a small library that has the same functions."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from benches.peers import ik_llama


def test_the_folder_of_ik_llama_must_hold_its_header_and_its_libraries(monkeypatch, tmp_path):
    monkeypatch.setenv(ik_llama.VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no include/llama\.h there"):
        ik_llama.source_tree()
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "llama.h").touch()
    assert ik_llama.source_tree() == tmp_path.resolve()
    with pytest.raises(FileNotFoundError, match=r"no libllama\.so below it"):
        ik_llama.library(tmp_path, "llama")
    for age, build in enumerate(("old", "new")):
        (tmp_path / build).mkdir()
        (tmp_path / build / "libllama.so").touch()
        os.utime(tmp_path / build / "libllama.so", (age, age))
    assert ik_llama.library(tmp_path, "llama") == tmp_path / "new" / "libllama.so"
    assert ik_llama.commit(tmp_path) == "commit unknown"


# What ik_llama.c uses of the header, with a library whose logits are [tokens so far, last token, sequence, settings].
LLAMA_H = """
#include <stdbool.h>
#include <stdint.h>
enum ggml_type { GGML_TYPE_F32, GGML_TYPE_F16 };
enum ggml_log_level { GGML_LOG_LEVEL_ERROR };
struct llama_model_params { int other; bool repack_tensors; };
struct llama_context_params {
    uint32_t n_ctx, n_batch, n_seq_max, n_threads, n_threads_batch; enum ggml_type type_k, type_v; bool flash_attn;
};
struct llama_batch {
    int32_t n_tokens, *token, *pos, *n_seq_id, **seq_id; int8_t *logits; int32_t first;
};
struct llama_model; struct llama_context;
void llama_log_set(void (*log)(enum ggml_log_level, const char *, void *), void *user);
void llama_backend_init(void);
const char *llama_print_system_info(void);
struct llama_model_params llama_model_default_params(void);
struct llama_model *llama_model_load_from_file(const char *path, struct llama_model_params params);
struct llama_context_params llama_context_default_params(void);
struct llama_context *llama_init_from_model(struct llama_model *model, struct llama_context_params params);
int32_t llama_n_vocab(const struct llama_model *model);
void llama_kv_cache_clear(struct llama_context *context);
struct llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max);
struct llama_batch llama_batch_get_one(int32_t *tokens, int32_t n_tokens, int32_t pos, int32_t seq);
int32_t llama_decode(struct llama_context *context, struct llama_batch batch);
float *llama_get_logits(struct llama_context *context);
float *llama_get_logits_ith(struct llama_context *context, int32_t i);
"""
LLAMA_C = """
#include <llama.h>
#include <stdlib.h>
struct llama_model { bool repack; } model;
struct llama_context { struct llama_context_params params; int n_cell; float logits[8][4]; } context;
void llama_log_set(void (*log)(enum ggml_log_level, const char *, void *), void *user) { (void)log, (void)user; }
void llama_backend_init(void) {}
const char *llama_print_system_info(void) { return "AVX2 = 1 | "; }
struct llama_model_params llama_model_default_params(void) { return (struct llama_model_params){0}; }
struct llama_model *llama_model_load_from_file(const char *path, struct llama_model_params params) {
    model.repack = params.repack_tensors;
    return *path ? &model : NULL;
}
struct llama_context_params llama_context_default_params(void) { return (struct llama_context_params){0}; }
struct llama_context *llama_init_from_model(struct llama_model *unused, struct llama_context_params params) {
    (void)unused;
    context.params = params;
    return &context;
}
int32_t llama_n_vocab(const struct llama_model *unused) { (void)unused; return 4; }
void llama_kv_cache_clear(struct llama_context *c) { c->n_cell = 0; }
struct llama_batch llama_batch_init(int32_t n, int32_t embd, int32_t n_seq_max) {
    (void)embd, (void)n_seq_max;
    struct llama_batch batch = {0, calloc(n, 4), calloc(n, 4), calloc(n, 4), calloc(n, sizeof(int *)), calloc(n, 1), 0};
    for (int i = 0; i < n; i++) batch.seq_id[i] = calloc(1, 4);
    return batch;
}
struct llama_batch llama_batch_get_one(int32_t *tokens, int32_t n, int32_t pos, int32_t seq) {
    (void)seq;
    return (struct llama_batch){n, tokens, NULL, NULL, NULL, NULL, pos};
}
int32_t llama_decode(struct llama_context *c, struct llama_batch batch) {
    if (c->n_cell + batch.n_tokens > (int)c->params.n_ctx) return 1;
    c->n_cell += batch.n_tokens;
    for (int i = 0; i < (batch.pos ? batch.n_tokens : 1); i++) {
        c->logits[i][0] = batch.pos ? batch.pos[i] + 1 : batch.first + batch.n_tokens;
        c->logits[i][1] = batch.pos ? batch.token[i] : batch.token[batch.n_tokens - 1];
        c->logits[i][2] = batch.pos ? batch.seq_id[i][0] : 0;
        c->logits[i][3] = model.repack && c->params.flash_attn && c->params.type_v == GGML_TYPE_F16;
    }
    return 0;
}
float *llama_get_logits(struct llama_context *c) { return c->logits[0]; }
float *llama_get_logits_ith(struct llama_context *c, int32_t i) { (void)i; return c->logits[0]; }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_ik_llama_is_driven_by_its_own_header(monkeypatch, tmp_path):
    include, build = tmp_path / "include", tmp_path / "build"
    include.mkdir()
    build.mkdir()
    (include / "llama.h").write_text(LLAMA_H)
    (build / "llama.c").write_text(LLAMA_C)
    (build / "ggml.c").write_text("int ggml;")
    for name in ("llama", "ggml"):
        command = ["cc", "-shared", "-fPIC", f"-I{include}", "-o", build / f"lib{name}.so", build / f"{name}.c"]
        subprocess.run(command, check=True)
    monkeypatch.setenv(ik_llama.VARIABLE, str(tmp_path))
    engine = ik_llama.IkLlama("model", n_threads=2, n_ctx=4, kv="f16", n_seq=2)
    assert engine.version == "ik_llama.cpp, commit unknown, run-time repacking (AVX2 = 1)"
    assert engine.prefill([5, 6, 7]).tolist() == [3, 7, 0, 1]
    assert engine.decode(8).tolist() == [4, 8, 0, 1]
    engine.reset()
    assert engine.decode_together([5, 6]).tolist() == [[1, 5, 0, 1], [1, 6, 1, 1]]
    assert engine.decode_together([7, 8]).tolist() == [[2, 7, 0, 1], [2, 8, 1, 1]]
    with pytest.raises(RuntimeError, match="llama_decode of 5 tokens failed"):
        engine.prefill([1, 2, 3, 4, 5])
    with pytest.raises(RuntimeError, match="cannot load"):
        ik_llama.IkLlama("", n_threads=2, n_ctx=4, kv="f16")
    (include / "llama.h").write_text(LLAMA_H.replace("bool repack_tensors", "bool renamed"))
    with pytest.raises(RuntimeError, match=r"(?s)ik_llama\.c does not fit.*repack_tensors"):
        ik_llama.IkLlama("model", n_threads=2, n_ctx=4, kv="f16")
