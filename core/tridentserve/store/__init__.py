"""Where intermediate tensors lie between two stages: one protocol, one module a store."""
