"""A share of a device, and what a stage loses by having only a share.

The rule is a roofline: a stage needs so much of the processors and of the memory bandwidth to run
at full speed, its saturation point. Above it more changes nothing; below, time grows as the
inverse of what it gets. Who states no saturation point gets the plain rule seconds(f0) x f0 / f.
That the rule is a straight inverse is an assumption until a profile of the fraction exists.
"""

from dataclasses import dataclass

from tridentserve.domain.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Fraction:
    """What a worker may use of a device."""

    compute_percent: int
    bandwidth_percent: int = 100
    """Of the memory's; 100 where the sharing mode does not divide it, as MPS does not."""
    memory_bytes: int = 0
    """0 where nobody limits it."""
    guaranteed: bool = True
    """False for a burst share: there while nobody else wants it."""
    enforced: bool = True
    """False where a worker can take more than it was promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The share of a device beyond which a stage gets no faster."""

    compute_percent: int = 100
    bandwidth_percent: int = 0
    """0 for a stage that never waits for memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """How much longer a stage takes while another runs on the same device."""

    stage: Stage
    beside: Stage
    factor: float
    """Time beside the other over time alone, at the same fraction; 1 or more."""


def slowdown(fraction: Fraction, saturation: Saturation) -> float:
    """Time at a fraction over time on the whole device.

    >>> half = Fraction(compute_percent=25, bandwidth_percent=100)
    >>> slowdown(half, Saturation(compute_percent=50))
    2.0
    >>> slowdown(half, Saturation(compute_percent=20))
    1.0
    """
    compute = saturation.compute_percent / fraction.compute_percent
    bandwidth = saturation.bandwidth_percent / fraction.bandwidth_percent
    return max(1.0, compute, bandwidth)


def ratio(known_percent: int, asked_percent: int, saturation: Saturation | None) -> float:
    """Time at the asked compute share over time at a known one.

    Without a saturation point there is no bound: 200 % is twice as fast as 100 %.

    >>> ratio(100, 25, None), ratio(100, 25, Saturation(compute_percent=50))
    (4.0, 2.0)
    """
    if saturation is None:
        return known_percent / asked_percent
    enough = saturation.compute_percent
    return min(known_percent, enough) / min(asked_percent, enough)
