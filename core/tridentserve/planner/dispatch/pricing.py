"""Mechanism 1: a device has a price, and a request takes the degree that is worth it.

    cost(k) = seconds(k) x (1 + price x k)        price = beta x requests in the system / devices

More devices make a request faster and take them from others for longer, as efficiency falls with
the degree. What a device-second costs the others grows with how many they are: on an idle cluster
the fastest degree is the cheapest, on a full one the most efficient. Among the degrees that are on
time the cheapest wins; so the price is raised to the deadline, never the other way round (paper
section 5.7).

A request that finds its degree taken is held back for it, rather than to take a smaller one for
being free now: it would hold that one for long, and the large shapes make the tail. But it waits no
longer than the larger degree saves, counted from its arrival, and then takes what is there and on
time. So whatever becomes of the degree that it waits for, it is done within twice the time that the
smaller one takes, the bound of who rents skis and does not know for how long. On a crowded fleet
nobody is held back: the devices that it would leave idle are what others wait for.

The load of a moment knows nothing of what is about to come; a placement that plans for rates does.
Its dual price says what one more device would save, in devices: 1 while the cluster suffices for
the rates, and up to its penalty for unserved demand where it does not. So with `planned` requests
count as many times as the plan's price says, wherever they are counted here: a plan of scarcity
makes devices dear before the queue has grown, and one that is out of date cannot, once nobody is
left to wait.

Without pricing the degree is the largest efficient one (paper section 1.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import EFFICIENT, Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """How dear devices are."""

    beta: float = 8.0
    """Price of a device where there are as many requests as devices."""
    stretch: float = 2.0
    """Degrees by which it is done within this times its best seconds after its arrival go before
    others that are on time: where degrees cost nearly the same, a loose deadline would let the
    largest shapes run on one device, and they are the tail."""
    crowded: float = 0.6
    """Requests in the system per device beyond which nobody is done in good time any more, and
    `stretch` would only waste devices."""
    planned: bool = False
    """Whether requests count as many times as the placement's price for diffuse, if it has one.
    Off, since it gained nothing where it was measured (the decision record says where)."""
    patience: float = 1.0
    """Times the seconds that its degree saves over a smaller one for which a request is held back;
    0 takes what is free at once, infinity waits as long as the smaller one would be late."""

    def scarcity(self, plan: PlacementPlan | None) -> float:
        """How many times a request counts; 1 where no plan says more."""
        if plan is None or not self.planned:
            return 1.0
        return max(1.0, dict(plan.prices).get(Stage.DIFFUSE, 1.0))

    def price(self, requests: float, devices: int) -> float:
        """The price of one device, in seconds of the request for a second of the device."""
        return self.beta * requests / max(1, devices)

    def is_crowded(self, requests: float, devices: int) -> bool:
        """Whether the deadline is all that can be hoped for."""
        return requests > self.crowded * devices


def worth(offers: Sequence[Offer], pricing: Pricing | None, price: float) -> Offer:
    """The degree that is worth it.

    Args:
        offers: those that may be chosen, of known cost; at least one.
        pricing: how; None for the largest efficient degree, and only that.
        price: of one device; see `Pricing.price`.
    """
    if pricing is None:
        efficient = [one for one in offers if _option(one).efficiency >= EFFICIENT]
        return max(efficient, key=lambda one: one.degree) if efficient else offers[0]
    return min(offers, key=lambda one: (_cost(_option(one), price), one.degree))


def saves_s(smaller: Offer, larger: Offer) -> float:
    """Seconds by which the larger degree is the faster one."""
    return _option(smaller).mean_s - _option(larger).mean_s


def _cost(option: Option, price: float) -> float:
    return option.mean_s * (1 + price * option.degree)


def _option(offer: Offer) -> Option:
    assert offer.option is not None, "the caller leaves unknown costs out"
    return offer.option
