"""What placements that tell classes apart start from: who asks for what, how it could run, where.

A class has a few ways to run each stage (`ways`), one a degree and batch, the fastest. Which
placement types can carry a way is a question of memory alone: the weights of every stage of the
type, and the peak of the one that runs.

Nothing is decided here. What is unknown stays unknown: without a cost model, devices or a known
load there is no survey, and planners then hold what they have (`held`). A load without classes, or
one of zero, is taken for an equal mix of what the profile measured (the paper's bootstrap).
"""

from dataclasses import dataclass, replace
from functools import cached_property

from tridentserve.domain.cluster import Device
from tridentserve.domain.ids import NodeId
from tridentserve.domain.load import ClassRate, Load
from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.memory import shared_bytes
from tridentserve.planner.placement.ways import Way, best_s, ways_of
from tridentserve.planner.projection import PlacementType
from tridentserve.planner.protocols import PlacementInputs

_BOOTSTRAP_PER_S = 1e-3
"""Arrivals that stand for none at all, so that every class still gets a place."""
_ABSURD_PER_S = 1e9
"""Nobody measures as much; a linear program would drown in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One class with its ways."""

    rate: ClassRate
    ways: tuple[Way, ...]
    deadline_s: float
    """From the arrival: the SLO's scale times the best end-to-end time at k*."""

    def of(self, stage: Stage) -> tuple[Way, ...]:
        """The ways of one stage, by degree, then by batch."""
        return tuple(way for way in self.ways if way.stage is stage)

    @property
    def label(self) -> str:
        """For people: `768x1360x81/6`."""
        shape = self.rate.shape
        return f"{shape.height}x{shape.width}x{shape.frames}/{self.rate.steps}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One node, as far as the budget lets it be used."""

    node: NodeId
    devices: int
    usable_bytes: int
    """Of each device, for weights and peaks; 0 where nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Classes, nodes and memory of one look."""

    traffic: tuple[Traffic, ...]
    grounds: tuple[Ground, ...]
    profile: Profile | None

    @cached_property
    def devices(self) -> int:
        """All of them together."""
        return sum(ground.devices for ground in self.grounds)

    @cached_property
    def largest(self) -> int:
        """Devices of the largest node."""
        return max(ground.devices for ground in self.grounds)

    @cached_property
    def usable_bytes(self) -> int:
        """Of the roomiest device; 0 where nobody knows."""
        return max(ground.usable_bytes for ground in self.grounds)

    @property
    def capacity(self) -> dict[NodeId, int]:
        """Devices by node."""
        return {ground.node: ground.devices for ground in self.grounds}

    def fits(self, kind: PlacementType, way: Way, usable_bytes: int | None = None) -> bool:
        """Whether a way can run on devices that carry a placement type.

        Args:
            kind: whose stages' weights lie on the device.
            way: one of a stage that the type hosts; any other fits nowhere.
            usable_bytes: of each device; those of the roomiest one where left out.
        """
        if way.stage not in kind.stages:
            return False
        usable = self.usable_bytes if usable_bytes is None else usable_bytes
        if not usable or self.profile is None:
            return True
        weights = (self.profile.weights(stage) for stage in kind.stages)
        return shared_bytes(weights, (way.peak_bytes,)) <= usable

    @cached_property
    def worths(self) -> tuple[float, ...]:
        """Devices that each class keeps busy at the very least: what it counts where it is lost.

        Counting requests instead would give up the largest class first, since it costs the most.
        """
        return tuple(
            traffic.rate.arrivals_per_s
            * sum(min(way.work_s for way in traffic.of(stage)) for stage in STAGES)
            for traffic in self.traffic
        )

    @cached_property
    def ungrouped(self) -> frozenset[PlacementType]:
        """Types on which no class could use more than one device for a call."""
        wide = {way.stage for traffic in self.traffic for way in traffic.ways if way.degree > 1}
        return frozenset(kind for kind in PlacementType if not wide & set(kind.stages))

    def holds(self, plan: PlacementPlan) -> bool:
        """Whether the nodes have the devices that a plan places on them."""
        wanted: dict[NodeId, int] = {}
        for pool in plan.pools:
            for node, workers in pool.nodes:
                wanted[node] = wanted.get(node, 0) + workers * pool.shape.devices
        capacity = self.capacity
        return all(devices <= capacity.get(node, 0) for node, devices in wanted.items())


def survey(inputs: PlacementInputs) -> Survey | None:
    """The classes, their ways and the nodes; None where one of them is unknown."""
    grounds = grounds_of(inputs)
    if inputs.cost is None or not grounds or inputs.load.arrivals_per_s is None:
        return None
    largest = max(ground.devices for ground in grounds)
    traffic = [
        _traffic(inputs.cost, rate, inputs, largest) for rate in mix_of(inputs.load, inputs.profile)
    ]
    known = tuple(one for one in traffic if all(one.of(stage) for stage in STAGES))
    if not known:
        return None
    return Survey(traffic=known, grounds=grounds, profile=inputs.profile)


def held(inputs: PlacementInputs) -> PlacementPlan:
    """The answer of a planner that knows too little: what there is, or nothing."""
    if inputs.load.arrivals_per_s is None:
        why = inputs.load.problem or "the arrival rate is unknown"
        reason = Reason(code="LoadUnknown", message=f"held: {why}")
    elif not inputs.cluster.devices:
        reason = Reason(code="NoDevices", message="there is no device to place anything on")
    elif not grounds_of(inputs):
        limit = f"gpuLimitPercent is {inputs.spec.gpu_limit_percent}"
        reason = Reason(code="NoDevices", message=f"{limit}, and workers take whole devices")
    else:
        reason = Reason(code="SecondsUnknown", message="held: what stages cost is unknown")
    if inputs.previous is None:
        return PlacementPlan(pools=(), reasons=(reason,), limited=True)
    return replace(inputs.previous, reasons=(reason,))


def standing(inputs: PlacementInputs, seen: Survey) -> PlacementPlan | None:
    """The plan in force of a planner that plans once; None where it has to plan.

    It plans once more where nodes are gone that the plan rests on.
    """
    previous = inputs.previous
    if previous is None or not previous.pools or not seen.holds(previous):
        return None
    reason = Reason(code="Static", message="sized by the load of the first look, and kept")
    return replace(previous, reasons=(reason,))


def mix_of(load: Load, profile: Profile | None) -> tuple[ClassRate, ...]:
    """Classes with their arrivals, each once, in a fixed order."""
    total = load.arrivals_per_s or 0.0
    rates: dict[tuple[object, ...], ClassRate] = {}
    for rate in load.mix:
        if 0 < rate.arrivals_per_s < _ABSURD_PER_S and rate.steps > 0:
            key = (rate.shape, rate.steps, rate.guidance)
            before = rates[key].arrivals_per_s if key in rates else 0.0
            rates[key] = replace(rate, arrivals_per_s=before + rate.arrivals_per_s)
    if not rates and profile is not None:
        shapes = {one.shape for one in profile.samples if one.stage is Stage.DIFFUSE}
        usual = total if 0 < total < _ABSURD_PER_S else _BOOTSTRAP_PER_S
        return tuple(
            ClassRate(
                shape=shape,
                steps=profile.steps,
                guidance=0.0,
                arrivals_per_s=usual / len(shapes),
            )
            for shape in sorted(shapes)
        )
    return tuple(sorted(rates.values(), key=lambda one: (one.shape, one.steps, one.guidance)))


def grounds_of(inputs: PlacementInputs) -> tuple[Ground, ...]:
    """Nodes by name, as far as `gpuLimitPercent` reaches."""
    devices: dict[NodeId, list[Device]] = {}
    for device in inputs.cluster.devices:
        devices.setdefault(device.node, []).append(device)
    left = inputs.spec.gpu_limit_percent // 100
    grounds = []
    for node in sorted(devices):
        used = min(left, len(devices[node]))
        left -= used
        if used:
            memory = min(device.memory_bytes for device in devices[node])
            usable = _usable(memory, inputs.profile)
            grounds.append(Ground(node=node, devices=used, usable_bytes=usable))
    return tuple(grounds)


def _usable(memory_bytes: int, profile: Profile | None) -> int:
    """Of a device: the share that the profile leaves to weights and peaks."""
    if profile is None or not profile.usable_bytes or not profile.device_memory_bytes:
        return memory_bytes
    if not memory_bytes:
        return profile.usable_bytes
    return memory_bytes * profile.usable_bytes // profile.device_memory_bytes


def _traffic(cost: CostModel, rate: ClassRate, inputs: PlacementInputs, largest: int) -> Traffic:
    ways: list[Way] = []
    for stage in STAGES:
        batches = {1}
        if inputs.profile is not None:
            most = inputs.spec.stage(stage).batch_max_size
            batches.add(max(1, min(most, inputs.profile.best_batch_of(rate.shape))))
        for batch in sorted(batches):
            ways += ways_of(cost, rate, stage, batch, largest)
    scale = inputs.spec.slo_scale_percent / 100
    return Traffic(rate=rate, ways=tuple(ways), deadline_s=best_s(ways) * scale)
