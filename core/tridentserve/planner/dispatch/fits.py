"""How well a call's devices fit a worker's room: what decides between workers that are alike."""

from collections.abc import Callable

Fit = Callable[[int, int], float]
"""How badly `degree` devices out of `vacant` ones would fit (vacant, degree); the least wins."""


def tightest(vacant: int, degree: int) -> float:
    """Leave the fewest devices over."""
    return vacant - degree


def emptiest(vacant: int, degree: int) -> float:
    """Leave the most devices over, as the published code does."""
    return degree - vacant


def fewest_blocks_broken(vacant: int, degree: int) -> float:
    """Break the fewest groups of 2, 4 and 8 that could still be formed, the larger the worse.

    >>> fewest_blocks_broken(8, 1) > fewest_blocks_broken(4, 1) > fewest_blocks_broken(3, 1)
    True
    """
    broken = sum(size * (vacant // size - (vacant - degree) // size) for size in (2, 4, 8))
    return broken + vacant / 1024
