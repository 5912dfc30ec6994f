"""Whole devices in proportion to weights: the arithmetic of shares, floors and remainders.

Used for the paper's N_t = floor(alpha_t G) and for its Split (section 1.4), which equalises the
rates of a virtual replica's parts: N_s v_s equal for all s means N_s in proportion to the seconds
of work 1 / v_s. The paper leaves remainders open; here they go to the largest fractions, and
everything that is needed at all gets its least.
"""

from collections.abc import Sequence
from math import floor

_ROUNDING = 1e-9
"""Lest 2.9999999999 devices become 2."""


def apportion(
    total: int, weights: Sequence[float], least: Sequence[int] | None = None
) -> tuple[int, ...]:
    """`total` in whole parts in proportion to `weights`, none below its least.

    Args:
        total: what there is.
        weights: 0 or more each; all 0 counts as all equal.
        least: by part; where they exceed the total, the first parts get theirs.

    The published balance of a heavy load, and a third type that would get nothing by its share:

    >>> apportion(128, (2, 88, 10))
    (2, 113, 13)
    >>> apportion(10, (90, 9, 1), (1, 1, 1))
    (8, 1, 1)
    """
    lowest = tuple(least) if least is not None else (0,) * len(weights)
    if sum(lowest) >= total:
        return _first_come(total, lowest)
    whole = sum(weights)
    shares = (
        [weight / whole for weight in weights] if whole > 0 else [1 / len(weights)] * len(weights)
    )
    quotas = [total * share for share in shares]
    parts = [floor(quota + _ROUNDING) for quota in quotas]
    by_fraction = sorted(
        range(len(parts)), key=lambda one: (round(parts[one] - quotas[one], 9), one)
    )
    for index in by_fraction[: total - sum(parts)]:
        parts[index] += 1
    return _raised(parts, quotas, lowest)


def _raised(parts: list[int], quotas: list[float], least: tuple[int, ...]) -> tuple[int, ...]:
    """Give each its least, from those that are furthest above their quota."""
    for index, lowest in enumerate(least):
        while parts[index] < lowest:
            giver = max(
                (one for one in range(len(parts)) if parts[one] > least[one]),
                key=lambda one: (parts[one] / max(quotas[one], _ROUNDING), parts[one], -one),
            )
            parts[giver] -= 1
            parts[index] += 1
    return tuple(parts)


def _first_come(total: int, least: tuple[int, ...]) -> tuple[int, ...]:
    parts = []
    for lowest in least:
        parts.append(min(lowest, total))
        total -= parts[-1]
    return tuple(parts)
