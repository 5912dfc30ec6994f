"""An estimate for a share of a device that others use as well.

The estimate for the compute share is taken as it is. On top of it come a share of the memory's
bandwidth below the stage's saturation point, and the pairwise factors of whatever runs beside it;
factors of several neighbours multiply, which nobody measured. A share that is not guaranteed, or
that neighbours can overstep, is known only half as well.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from tridentserve.domain.fractions import Fraction, Interference, Saturation, slowdown
from tridentserve.domain.profiles import Estimate
from tridentserve.domain.stages import Stage


def shared(
    estimate: Estimate,
    fraction: Fraction,
    saturation: Saturation | None,
    interference: Iterable[float],
) -> Estimate:
    """The estimate at the fraction's compute share, under everything else that it has to share."""
    factor = prod(interference)
    if saturation is not None:
        whole_bandwidth = replace(fraction, bandwidth_percent=100)
        factor *= slowdown(fraction, saturation) / slowdown(whole_bandwidth, saturation)
    sure = fraction.guaranteed and fraction.enforced
    return replace(
        estimate,
        mean_s=estimate.mean_s * factor,
        q90_s=estimate.q90_s * factor,
        confidence=estimate.confidence * (1.0 if sure else 0.5),
    )


def factors(
    known: Iterable[Interference], stage: Stage, beside: Iterable[Stage]
) -> tuple[float, ...]:
    """The factor of every neighbour; 1 where the profile says nothing of the pair."""
    table = {(one.stage, one.beside): one.factor for one in known}
    return tuple(table.get((stage, other), 1.0) for other in beside)
