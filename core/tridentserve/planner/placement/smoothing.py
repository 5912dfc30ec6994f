"""A mix of classes, smoothed: what placements remember of the load, so that noise moves nothing.

An exponentially weighted mean by time: a look after `tau_s` seconds counts for 63 %. Looking twice
at the same moment counts once. A class that is gone fades, and is forgotten below a thousandth of
the whole. It is a value that goes in and comes out; who loses it starts from the load as it is.

An unknown load teaches nothing: the mix stays as it was remembered, and nothing is surveyed.
"""

from dataclasses import dataclass, field, replace
from math import exp

from tridentserve.domain.load import ClassRate
from tridentserve.domain.shapes import Shape
from tridentserve.planner.placement.survey import Survey, mix_of, survey
from tridentserve.planner.protocols import PlacementInputs

_FORGOTTEN = 1e-3
_Key = tuple[Shape, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothedMix:
    """Classes with their smoothed arrivals, and when they were looked at last."""

    rates: tuple[ClassRate, ...] = ()
    at_s: float | None = None
    """None before the first look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What one look of a placement planner leaves for the next."""

    mix: SmoothedMix = field(default_factory=SmoothedMix)
    changed_s: float | None = None
    """When the placement was changed last; None where nobody remembers a change."""


def smoothed_survey(
    inputs: PlacementInputs, memory: Remembered, tau_s: float
) -> tuple[Survey | None, Remembered]:
    """What a planner that remembers plans for, and the memory for its next look.

    Args:
        inputs: of this look; its mix is taken into the memory, and surveyed as smoothed.
        memory: of the last look.
        tau_s: memory of the mix; 0 takes what is seen.

    Returns:
        No survey where too little is known to place anything: the answer is then `survey.held`.
    """
    if inputs.load.arrivals_per_s is None:
        return None, memory
    mix = smoothed(memory.mix, mix_of(inputs.load, inputs.profile), inputs.now, tau_s)
    seen = survey(replace(inputs, load=replace(inputs.load, mix=mix.rates)))
    return seen, replace(memory, mix=mix)


def smoothed(
    before: SmoothedMix, seen: tuple[ClassRate, ...], now: float, tau_s: float
) -> SmoothedMix:
    """The mix after one more look.

    Args:
        before: the mix of the last look; an empty one at first.
        seen: arrivals by class as measured now, each class once.
        now: of this look.
        tau_s: memory; 0 takes what is seen.
    """
    if before.at_s is None or tau_s <= 0:
        return SmoothedMix(rates=seen, at_s=now)
    if now <= before.at_s:
        return before
    weight = 1 - exp((before.at_s - now) / tau_s)
    known = {_key(one): one for one in before.rates}
    new = {_key(one): one for one in seen}
    rates = []
    for key in {**known, **new}:
        was = known[key].arrivals_per_s if key in known else 0.0
        now_is = new[key].arrivals_per_s if key in new else 0.0
        rate = was + weight * (now_is - was)
        rates.append(replace(new.get(key) or known[key], arrivals_per_s=rate))
    least = _FORGOTTEN * sum(one.arrivals_per_s for one in rates)
    kept = sorted((one for one in rates if one.arrivals_per_s > least), key=_key)
    return SmoothedMix(rates=tuple(kept), at_s=now)


def _key(rate: ClassRate) -> _Key:
    return (rate.shape, rate.steps, rate.guidance)
