"""Values that all parts share: frozen, without I/O, without a clock."""
