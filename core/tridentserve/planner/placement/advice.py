"""From routed options to the flows of a plan: which class runs where, in the words of its pools.

A place may be several pools, workers of seven devices on one node and of eight on another: each
gets a share in proportion to the devices that form groups of the size.
"""

from tridentserve.domain.ids import NodeId
from tridentserve.domain.plans import Flow, PlacementPlan, PoolShape
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.placement.flows import Option
from tridentserve.planner.placement.prediction import Prediction
from tridentserve.planner.placement.survey import Survey

_Key = tuple[Shape, int, Stage, PoolShape, Strategy]
_DIGITS = 6


def flows_of(plan: PlacementPlan, seen: Survey, prediction: Prediction) -> tuple[Flow, ...]:
    """Flows for what was predicted of a plan, in a fixed order."""
    usable = {ground.node: ground.usable_bytes for ground in seen.grounds}
    arrivals: dict[tuple[Shape, int], float] = {}
    for traffic in seen.traffic:
        one = (traffic.rate.shape, traffic.rate.steps)
        arrivals[one] = arrivals.get(one, 0.0) + traffic.rate.arrivals_per_s
    shares: dict[_Key, float] = {}
    for option, share in prediction.shares:
        rate = option.traffic.rate
        pools = _pools(plan, option, usable)
        whole = sum(pools.values())
        for shape, devices in pools.items():
            key = (rate.shape, rate.steps, option.way.stage, shape, option.way.strategy)
            # Classes that differ by guidance alone are one class of the flows.
            weight = rate.arrivals_per_s / arrivals[rate.shape, rate.steps] * devices / whole
            shares[key] = shares.get(key, 0.0) + share * weight
    return tuple(
        Flow(
            shape=shape,
            steps=steps,
            stage=stage,
            pool=pool,
            strategy=strategy,
            share=min(1.0, round(shares[shape, steps, stage, pool, strategy], _DIGITS)),
        )
        for shape, steps, stage, pool, strategy in sorted(shares, key=_order)
    )


def _pools(plan: PlacementPlan, option: Option, usable: dict[NodeId, int]) -> dict[PoolShape, int]:
    """Devices of each pool of an option's place that form groups of its degree."""
    kind, degree = option.place.kind, option.way.degree
    found: dict[PoolShape, int] = {}
    for pool in plan.pools:
        workers = sum(
            count for node, count in pool.nodes if usable.get(node, 0) == option.place.usable_bytes
        )
        grouped = pool.shape.devices // degree * degree
        if pool.shape.stages == kind.stages and workers and grouped:
            found[pool.shape] = workers * grouped
    return found


def _order(key: _Key) -> tuple[Shape, int, int, PoolShape, tuple[int, ...]]:
    shape, steps, stage, pool, strategy = key
    ways = (strategy.cfg, strategy.ulysses, strategy.ring, strategy.vae_tiles)
    return (shape, steps, STAGES.index(stage), pool, ways)
