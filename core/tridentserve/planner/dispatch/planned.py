"""The pools and strategies that the placement plan advises, class by class (`PlacementPlan.flows`).

For placements that tell classes apart: buckets by degree (paper section 2.5, B2 and B5) and
partitions by class. A class that the plan does not name, or whose pools are not there, goes by
another rule, so that a plan that is late or wrong delays nobody for ever.
"""

from dataclasses import dataclass

from tridentserve.domain.dispatch import Segment
from tridentserve.domain.plans import Flow, PoolShape
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.dispatch.degrees import DegreeRule, Scene
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import at_degree
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State


@dataclass(frozen=True, slots=True)
class AsPlanned:
    """Pool and strategy of a class as planned, the pool with the largest share first."""

    otherwise: DegreeRule
    stage: Stage | None = None
    """Whose flows count for all stages; None takes each stage's own."""

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """One offer for every flow of its class and stage, none beyond its bound but for the first.

        A bound that is less than one call needs would otherwise keep a class waiting for ever.
        """
        planned = False
        found = []
        for flow in _flows(journey, self.stage or journey.stage, scene):
            kinds = tuple(
                kind
                for offer in scene.offers.of(scene.state, journey)
                if offer.degree == flow.strategy.degree
                for kind in offer.kinds
                if is_of(kind, flow.pool)
            )
            if not kinds:
                continue
            planned = True
            degree = flow.strategy.degree
            used = 0 if flow.devices is None else _used(journey, kinds, scene)
            if used == 0 or flow.devices is None or used + degree <= flow.devices:
                found.append(_offer(journey, kinds, flow.strategy, scene))
        return tuple(found) if planned else self.otherwise.choices(journey, scene)


def is_of(kind: Kind, pool: PoolShape) -> bool:
    """Whether the workers of a kind are those of a pool."""
    return (
        tuple(sorted(kind.capable)) == pool.stages
        and kind.devices == pool.devices
        and kind.fraction_percent == pool.fraction_percent
    )


def _flows(journey: Journey, stage: Stage, scene: Scene) -> list[Flow]:
    plan, demand = scene.state.plan, journey.demand
    if plan is None:
        return []
    flows = (
        flow
        for flow in plan.flows
        if (flow.shape, flow.steps, flow.stage) == (demand.shape, demand.steps, stage)
    )
    return sorted(flows, key=lambda flow: -flow.share)


def _offer(journey: Journey, kinds: tuple[Kind, ...], strategy: Strategy, scene: Scene) -> Offer:
    """The strategy on those kinds that can use it; where none can, its degree on all of them."""
    options, demand = scene.offers.options, journey.demand
    work = (journey.stage, demand.shape, demand.steps, demand.pictures(journey.stage))
    exact = {kind: options.exactly(kind, *work, strategy) for kind in kinds}
    able = {kind: option for kind, option in exact.items() if option is not None}
    if not able:
        option = at_degree(options.over(kinds, *work), strategy.degree)
        return Offer(degree=strategy.degree, kinds=kinds, option=option)
    fastest = min(able.values(), key=lambda one: one.mean_s)
    return Offer(degree=strategy.degree, kinds=tuple(able), option=fastest, strategy=strategy)


def _used(journey: Journey, kinds: tuple[Kind, ...], scene: Scene) -> int:
    """Devices on which the class runs the stage on these kinds now, or is about to."""
    state, work = scene.state, (journey.stage, journey.demand.shape, journey.demand.steps)
    used = {
        device
        for kind in kinds
        for room in kind.rooms
        for name in room
        for segment in state.running(name)
        if _work(segment, state) == work
        for device in segment.devices
    }
    for place in scene.floor.taken():
        if place.kind in kinds and place.key is not None and place.key[:3] == work:
            used.update(place.devices)
    return len(used)


def _work(segment: Segment, state: State) -> tuple[Stage, Shape, int]:
    demand = state.journeys[segment.requests[0].request].demand
    return (segment.stage, demand.shape, demand.steps)
