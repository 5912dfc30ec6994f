"""What differs between model families, one module each; torch is imported inside functions only."""
