"""The learning rate of a step: up in a straight line, then down along half a cosine to nothing."""

import math


def learning_rate(step: int, *, peak: float, warmup_steps: int, steps: int) -> float:
    """Of step `step`, counted from 0, of `steps`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * share)) / 2
