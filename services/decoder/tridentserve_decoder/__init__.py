"""The decode stage: the VAE, and media out."""
