"""Virtual replicas for a mix of classes: the paper's Algorithm 2 without its trigger (section 1.4).

    opt(r) = the first of V0, V1, V2, V3 in which every stage of r fits the devices
    N_t    = share of the requests with opt = t, of all devices, in whole ones
    Split  = N_t among the parts of t so that all parts serve at the same rate
    Pack   = parts of a replica on one node, primary devices in whole groups (`packing`)

Where the paper is silent: a class runs at the largest efficient degree that fits (k*); remainders
go to the largest fractions; every replica that a class needs gets the devices for one of it, the
most frequent first where there are too few for all. Classes that no replica can hold are named.

Shares count requests, as published: a rare class of heavy requests gets few devices. That is the
baseline's weakness, kept on purpose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.packing import Bundle, pack, singled
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.placement.survey import Survey, Traffic
from tridentserve.planner.placement.ways import Way, efficient
from tridentserve.planner.projection import (
    VIRTUAL_REPLICAS,
    PlacementType,
    VirtualReplica,
    project,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One class in its virtual replica, with how it runs there."""

    traffic: Traffic
    replica: VirtualReplica
    hosts: tuple[tuple[PlacementType, Way], ...]
    """Where and how each stage runs, in order of the stages."""
    least_group: int
    """Devices without which its diffuse does not fit."""

    @property
    def group(self) -> int:
        """Devices that its diffuse should have together."""
        return max(way.degree for kind, way in self.hosts if kind.is_primary)

    def work_s(self, kind: PlacementType) -> float:
        """Device-seconds of one request on one type."""
        return sum(way.work_s for host, way in self.hosts if host is kind)


def tenant_of(survey: Survey, traffic: Traffic) -> Tenant | None:
    """The class in the first replica that holds it; None where none does."""
    for replica in VIRTUAL_REPLICAS:
        hosts: list[tuple[PlacementType, Way]] = []
        least_group = 1
        for stage in STAGES:
            kind = next(one for one in replica.types if stage in one.stages)
            fitting = [way for way in traffic.of(stage) if survey.fits(kind, way)]
            way = _chosen(stage, fitting)
            if way is None:
                break
            hosts.append((kind, way))
            if kind.is_primary:
                least_group = max(least_group, min(one.degree for one in fitting))
        else:
            return Tenant(
                traffic=traffic, replica=replica, hosts=tuple(hosts), least_group=least_group
            )
    return None


def _chosen(stage: Stage, fitting: Sequence[Way]) -> Way | None:
    """Diffuse at the largest efficient degree, the others as cheaply as they go."""
    if stage is Stage.DIFFUSE:
        return efficient(fitting)
    single = [way for way in fitting if way.batch == 1]
    return min(single, key=lambda way: (way.work_s, way.degree), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Device-seconds a second that a mix asks of every placement type, at one request a second."""

    by_type: tuple[tuple[PlacementType, float], ...]

    def headroom(self, devices: dict[PlacementType, int]) -> dict[PlacementType, float]:
        """Requests a second that each needed type could serve."""
        return {kind: devices.get(kind, 0) / work for kind, work in self.by_type if work > 0}


def needs_of(tenants: Sequence[Tenant]) -> Needs:
    """What the mix of these classes asks for."""
    total = sum(one.traffic.rate.arrivals_per_s for one in tenants)
    works: dict[PlacementType, float] = {}
    for tenant in tenants:
        share = tenant.traffic.rate.arrivals_per_s / total
        for kind in tenant.replica.types:
            works[kind] = works.get(kind, 0.0) + share * tenant.work_s(kind)
    return Needs(by_type=tuple((kind, works[kind]) for kind in sorted(works)))


def arrange(survey: Survey) -> PlacementPlan:
    """The placement for a mix, with its figures as reasons; without pools where nothing fits."""
    found = [(one, tenant_of(survey, one)) for one in survey.traffic]
    homeless = [one.label for one, tenant in found if tenant is None]
    reasons = []
    if homeless:
        message = f"no virtual replica holds {', '.join(homeless)}"
        reasons.append(Reason(code="DoesNotFit", message=message))
    tenants = [tenant for _, tenant in found if tenant is not None]
    bundles, words = _bundles(survey, tenants)
    reasons += words
    packed = pack(bundles, [(one.node, one.devices) for one in survey.grounds])
    layouts = singled(packed, survey.ungrouped)
    projection = project(layouts, survey.capacity, (Sharing.EXCLUSIVE,))
    return PlacementPlan(
        pools=projection.pools,
        reasons=tuple(reasons),
        limited=any(reason.code != "VirtualReplica" for reason in reasons),
        mode=projection.mode,
    )


def _bundles(survey: Survey, tenants: Sequence[Tenant]) -> tuple[list[Bundle], list[Reason]]:
    """Devices of every replica in use, split among its parts."""
    bundles: list[Bundle] = []
    reasons: list[Reason] = []
    groups = _in_use(survey, tenants)
    placed = {one.replica.name for group in groups for one in group}
    without = sorted({one.replica.name for one in tenants} - placed)
    if without:
        message = f"{survey.devices} devices are too few for {', '.join(without)}"
        reasons.append(Reason(code="TooFewDevices", message=message))
    if not groups:
        return [], reasons
    rates = [sum(one.traffic.rate.arrivals_per_s for one in group) for group in groups]
    least = [_least(group) for group in groups]
    for group, rate, devices in zip(
        groups, rates, apportion(survey.devices, rates, least), strict=True
    ):
        replica = group[0].replica
        works = dict(needs_of(group).by_type)
        lowest = [max(one.least_group for one in group), *(1 for _ in replica.auxiliary)]
        counts = apportion(devices, [works[kind] for kind in replica.types], lowest)
        wished = max(one.group for one in group)
        bundles.append(
            Bundle(
                counts=tuple(zip(replica.types, counts, strict=True)),
                group=max(1, min(wished, counts[0], survey.largest)),
            )
        )
        parts = ", ".join(
            f"{kind.name} {count} ({works[kind]:.3g} s a request)"
            for kind, count in zip(replica.types, counts, strict=True)
        )
        share = rate / sum(rates) * 100
        message = f"{replica.name}: {share:.0f} % of the requests, {devices} devices: {parts}"
        reasons.append(Reason(code="VirtualReplica", message=message))
    return bundles, reasons


def _in_use(survey: Survey, tenants: Sequence[Tenant]) -> list[list[Tenant]]:
    """Classes by replica in order of preference; the rarest replicas left out for which there
    are no devices."""  # noqa: D205, D209 - one sentence
    groups = [[one for one in tenants if one.replica is replica] for replica in VIRTUAL_REPLICAS]
    groups = [group for group in groups if group]
    while groups and sum(_least(group) for group in groups) > survey.devices:
        rarest = min(
            groups, key=lambda group: sum(one.traffic.rate.arrivals_per_s for one in group)
        )
        groups.remove(rarest)
    return groups


def _least(group: Sequence[Tenant]) -> int:
    """Devices of one replica of a kind."""
    return max(one.least_group for one in group) + len(group[0].replica.auxiliary)
