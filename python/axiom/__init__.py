"""Runs transformer language models with the same bits on every machine."""
