"""Random numbers by name: each belongs to a seed and to what it is for, not to an order of calls.

Whatever a policy does, and in whatever order, request 17 meets the same noise in diffuse. Texts
seed `random.Random` through SHA-512, which no hash seed of a process changes.
"""

from math import exp
from random import Random


def stream(seed: int, *names: object) -> Random:
    """The random numbers of one purpose.

    >>> stream(1, "r7", "diffuse").random() == stream(1, "r7", "diffuse").random()
    True
    """
    return Random("/".join(map(str, (seed, *names))))


def noise(seed: int, spread: float, *names: object) -> float:
    """A log-normal factor with mean 1; `spread` is the standard deviation of its logarithm."""
    if not spread:
        return 1.0
    return exp(spread * stream(seed, "noise", *names).gauss(0.0, 1.0) - spread**2 / 2)
