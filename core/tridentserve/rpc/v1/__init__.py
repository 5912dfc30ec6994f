"""The protocol's Python modules, generated at build."""
