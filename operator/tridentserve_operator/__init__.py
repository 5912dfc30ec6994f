"""The control plane: observe, decide, render, apply."""
