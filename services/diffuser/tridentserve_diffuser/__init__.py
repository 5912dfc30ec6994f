"""The diffuse stage: the denoising transformer."""
