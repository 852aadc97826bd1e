"""Axiom compared with other people's software: gguf.quants, llama.cpp, Hugging Face tokenizers.

These tests need the environment that `environment.py` makes; `make test-peers` makes it and runs them.
"""
