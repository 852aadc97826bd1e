"""Tests of axiom; a package so that test files and benches share `tests.models`."""
