// llama.cpp from the start of the process to the first token, by its C interface and without an interpreter:
//     first_token MODEL THREADS TOKEN...
// prints the likeliest token after the prompt. Everything is at llama.cpp's defaults (weights mapped, repacked at load, the
// first pass not warmed up, as its library does it), flash attention on.

#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)level, (void)text, (void)user;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: first_token MODEL THREADS TOKEN...\n");
        return 2;
    }
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        fprintf(stderr, "llama.cpp cannot load %s\n", argv[1]);
        return 1;
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = atoi(argv[2]);
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
    struct llama_context *context = llama_init_from_model(model, params);
    if (!context) {
        fprintf(stderr, "llama.cpp cannot make a context for %s\n", argv[1]);
        return 1;
    }
    llama_token tokens[512];
    int n_token = 0;
    for (int i = 3; i < argc && n_token < 512; i++) tokens[n_token++] = atoi(argv[i]);
    if (llama_decode(context, llama_batch_get_one(tokens, n_token)) != 0) {
        fprintf(stderr, "llama_decode failed\n");
        return 1;
    }
    const float *logits = llama_get_logits_ith(context, -1);
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model)), best = 0;
    for (int i = 1; i < n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    printf("%d\n", best);
    fflush(stdout);
    return 0;
}
