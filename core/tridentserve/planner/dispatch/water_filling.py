"""Mechanism 4: when nothing waits, idle devices go to who gains most by them.

The price of a device follows the load, not the moment: it keeps devices free for requests that are
about to come. When nobody waits at all, vacant devices next to a request are of use to nobody else
for now. So its degree is raised step by step, as long as the last step still reaches `efficiency`:
the speed-up that it brings over the factor of devices that it costs (paper section 5.7).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterFilling:
    """How much waste is worth it."""

    efficiency: float = 0.5
    """(seconds before / seconds after) / (devices after / devices before) of a step, at least."""


def raises(offers: Sequence[Offer], chosen: Offer, filling: WaterFilling) -> Iterator[Offer]:
    """Larger degrees than the chosen one that are worth it on idle devices, one after the other.

    Args:
        offers: all degrees, ascending.
        chosen: one of them.
        filling: how much waste is worth it.
    """
    last = chosen
    for offer in offers:
        if offer.degree <= chosen.degree:
            continue
        if last.option is None or offer.option is None:
            return
        if not speeds_up(last.option, offer.option, filling):
            return
        yield offer
        last = offer


def speeds_up(smaller: Option, larger: Option, filling: WaterFilling) -> bool:
    """Whether one step up is efficient enough."""
    gained = smaller.mean_s * smaller.degree
    return gained >= filling.efficiency * larger.mean_s * larger.degree
