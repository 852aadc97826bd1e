"""The specification: the numpy twin of axiom-core, file for file and name for name."""
