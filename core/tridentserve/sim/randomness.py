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
    return Random(_text(seed, *names))


class Noise:
    """Log-normal factors with mean 1, each by its name."""

    def __init__(self, seed: int, spread: float) -> None:
        """`spread` is the standard deviation of a factor's logarithm."""
        self._seed, self._spread = seed, spread
        # Sown anew for each name, which gives what `stream` gives in a third of the time.
        self._random = Random()

    def factor(self, *names: object) -> float:
        """The factor of these names, whatever was asked for before."""
        if not self._spread:
            return 1.0
        self._random.seed(_text(self._seed, "noise", *names))
        return exp(self._spread * self._random.gauss(0.0, 1.0) - self._spread**2 / 2)


def _text(*names: object) -> str:
    return "/".join(map(str, names))
