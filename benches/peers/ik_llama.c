// ik_llama.cpp behind a few plain functions, compiled against the header of the very version at hand: the layouts of its
// structures change often and without notice, so that a copy of them elsewhere would soon be wrong and say nothing.
// Flash attention and weights repacked at load; all else at its defaults (micro-batches of 512, fused operations).

#include <llama.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct bridge {
    struct llama_model *model;
    struct llama_context *context;
    struct llama_batch together;
    int n_pos;  // of the sequences that decode together
};

static void only_errors(enum ggml_log_level level, const char *text, void *user) {
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

const char *bridge_features(void) { return llama_print_system_info(); }

// NULL if it fails; llama.cpp has said why on stderr.
struct bridge *bridge_open(const char *path, int n_threads, int n_ctx, int n_seq, bool is_kv_f32) {
    llama_log_set(only_errors, NULL);
    llama_backend_init();
    struct llama_model_params model_params = llama_model_default_params();
    model_params.repack_tensors = true;
    struct llama_model *model = llama_model_load_from_file(path, model_params);
    if (!model) return NULL;
    struct llama_context_params params = llama_context_default_params();
    // The context is shared out: each sequence has an equal part.
    params.n_ctx = (uint32_t)(n_ctx * n_seq);
    params.n_seq_max = (uint32_t)n_seq;
    params.n_batch = (uint32_t)n_ctx;
    params.n_threads = params.n_threads_batch = (uint32_t)n_threads;
    params.type_k = params.type_v = is_kv_f32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
    params.flash_attn = true;
    struct llama_context *context = llama_init_from_model(model, params);
    struct bridge *bridge = context ? malloc(sizeof *bridge) : NULL;
    if (!bridge) return NULL;
    *bridge = (struct bridge){model, context, llama_batch_init(n_seq, 0, 1), 0};
    return bridge;
}

int bridge_n_vocab(const struct bridge *bridge) { return llama_n_vocab(bridge->model); }

void bridge_reset(struct bridge *bridge) {
    llama_kv_cache_clear(bridge->context);
    bridge->n_pos = 0;
}

// Appends tokens to the first sequence: the logits of the last of them, or NULL.
const float *bridge_append(struct bridge *bridge, int *tokens, int n_token) {
    if (llama_decode(bridge->context, llama_batch_get_one(tokens, n_token, bridge->n_pos, 0)) != 0) return NULL;
    bridge->n_pos += n_token;
    return llama_get_logits_ith(bridge->context, -1);
}

// Appends one token to each of the first `n_seq` sequences: a row of logits for each, or NULL.
const float *bridge_together(struct bridge *bridge, const int *tokens, int n_seq) {
    struct llama_batch *batch = &bridge->together;
    batch->n_tokens = n_seq;
    for (int i = 0; i < n_seq; i++) {
        batch->token[i] = tokens[i];
        batch->pos[i] = bridge->n_pos;
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = i;
        batch->logits[i] = true;
    }
    if (llama_decode(bridge->context, *batch) != 0) return NULL;
    bridge->n_pos += 1;
    return llama_get_logits(bridge->context);
}
