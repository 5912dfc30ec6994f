"""The encode stage: text encoders."""
