"""The arithmetic that every body shares, to the bit; the numpy twin of ``axiom_core::arithmetic``."""
