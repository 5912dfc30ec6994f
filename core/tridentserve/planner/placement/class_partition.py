"""Every class its own share of the devices: a static partition, with the paper's placement below.

The pools are those of `replicas.arrange`. On top of them every class is bound to a number of
devices of each type that it uses, in proportion to its device-seconds there and in whole groups, so
that no class can take another one's. A type with too few devices for all of its classes is shared
without bounds. What it gives up is pooling: idle devices of one class help no other.
"""

from collections.abc import Sequence
from dataclasses import replace

from tridentserve.domain.plans import Flow, PlacementPlan, PoolPlan, Reason
from tridentserve.planner.placement.replicas import Tenant, arrange, tenant_of
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.placement.survey import Survey, held, standing, survey
from tridentserve.planner.projection import PlacementType
from tridentserve.planner.protocols import PlacementInputs


class ClassPartition:
    """The paper's pools, divided among the classes."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The partition for the load of the first look, whatever it is later."""
        seen = survey(inputs)
        if seen is None:
            return held(inputs)
        planned = standing(inputs, seen)
        return planned or _planned(seen)


def _planned(seen: Survey) -> PlacementPlan:
    base = arrange(seen)
    tenants = [one for one in (tenant_of(seen, traffic) for traffic in seen.traffic) if one]
    flows: list[Flow] = []
    reasons = list(base.reasons)
    for kind in PlacementType:
        pools = [pool for pool in base.pools if pool.shape.stages == kind.stages]
        users = [one for one in tenants if one.work_s(kind) > 0]
        if pools and users:
            shared, found = _divided(kind, pools, users)
            flows += found
            words = "shared by" if shared else "divided among"
            message = f"{kind.name}: {words} {len(users)} classes"
            reasons.append(Reason(code="Partition", message=message))
    return replace(base, flows=tuple(dict.fromkeys(flows)), reasons=tuple(reasons))


def _divided(
    kind: PlacementType, pools: Sequence[PoolPlan], users: Sequence[Tenant]
) -> tuple[bool, list[Flow]]:
    """Whether a type is shared after all, and the flows of its classes."""
    widths = [max(way.degree for host, way in one.hosts if host is kind) for one in users]
    works = [one.traffic.rate.arrivals_per_s * one.work_s(kind) for one in users]
    total = sum(pool.workers * pool.shape.devices for pool in pools)
    bounds = apportion(total, works, widths)
    left = [pool.workers * pool.shape.devices for pool in pools]
    flows: list[Flow] = []
    # Wide classes first: they need the pools with many devices whole.
    for index in sorted(range(len(users)), key=lambda one: (-widths[one], one)):
        given: list[tuple[PoolPlan, int]] = []
        wanted = bounds[index] // widths[index] * widths[index]
        for number, pool in enumerate(pools):
            grouped = pool.workers * (pool.shape.devices // widths[index]) * widths[index]
            most = min(left[number], grouped, wanted - sum(count for _, count in given))
            devices = most // widths[index] * widths[index]
            if devices > 0:
                given.append((pool, devices))
                left[number] -= devices
        if not given:
            return True, [
                flow
                for user in users
                for flow in _flows(user, kind, [(pool, None) for pool in pools])
            ]
        flows += _flows(users[index], kind, given)
    return False, flows


def _flows(
    user: Tenant, kind: PlacementType, given: Sequence[tuple[PoolPlan, int | None]]
) -> list[Flow]:
    """Flows of one class to the pools of a type, by the devices that it may use of each."""
    weights = [
        pool.workers * pool.shape.devices if devices is None else devices for pool, devices in given
    ]
    return [
        Flow(
            shape=user.traffic.rate.shape,
            steps=user.traffic.rate.steps,
            stage=way.stage,
            pool=pool.shape,
            strategy=way.strategy,
            share=weight / sum(weights),
            devices=devices,
        )
        for host, way in user.hosts
        if host is kind
        for (pool, devices), weight in zip(given, weights, strict=True)
        if way.degree <= pool.shape.devices
    ]
