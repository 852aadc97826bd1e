"""axiom from the start of the process to the first token, by its public interface:

python benches/peers/first_token.py MODEL THREADS TOKEN...

prints the likeliest token after the prompt.
"""

import sys

import axiom

model, threads, *tokens = sys.argv[1:]
runtime = axiom.Runtime(model, threads=int(threads), n_ctx=512, n_seq_max=1)
completion = runtime.generate([int(token) for token in tokens], max_tokens=1, temperature=0.0)
print(completion.tokens[0], flush=True)
