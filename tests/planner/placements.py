"""Clusters and loads of the shipped profiles, for tests of placements that tell classes apart."""

from collections.abc import Mapping, Sequence
from functools import cache

from tests.planner.specs import pipeline, stage_spec

from tridentserve.domain.cluster import Cluster, Device
from tridentserve.domain.ids import DeviceId, NodeId
from tridentserve.domain.load import ClassRate, Load
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.profile_files import builtin
from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import PlacementInputs

GB = 1_000_000_000

TRACES: Mapping[str, tuple[int, tuple[Shape, ...]]] = {
    "cogvideox": (
        6,
        tuple(
            Shape(height=768, width=width, frames=frames)
            for width in (432, 1360)
            for frames in (17, 33, 65, 81)
        ),
    ),
    "flux": (28, tuple(Shape(height=side, width=side) for side in (128, 256, 512, 1024, 2048))),
    "hunyuanvideo": (
        6,
        tuple(
            Shape(height=height, width=width, frames=frames)
            for height, width in ((960, 544), (720, 1280))
            for frames in (17, 33, 65, 129)
        ),
    ),
    "sd3": (20, tuple(Shape(height=side, width=side) for side in (128, 256, 512, 1024, 1536))),
}
"""Steps and shapes of the public traces, with the steps that were run."""


@cache
def profile(name: str) -> Profile:
    """One of the shipped profiles."""
    return builtin(name)


def nodes(*devices: int, memory_bytes: int = 48 * GB) -> Cluster:
    """Nodes with so many devices each."""
    return Cluster(
        devices=tuple(
            Device(
                id=DeviceId(f"n{number:02}/gpu{index}"),
                node=NodeId(f"n{number:02}"),
                memory_bytes=memory_bytes,
            )
            for number, count in enumerate(devices)
            for index in range(count)
        )
    )


PAPER = nodes(*[8] * 16)
"""The published cluster."""


def mix(name: str, rate: float, weights: Sequence[float] | None = None) -> Load:
    """Arrivals over the shapes of a trace, all alike or by weight."""
    steps, shapes = TRACES[name]
    given = weights or [1.0] * len(shapes)
    return Load(
        arrivals_per_s=rate,
        mix=tuple(
            ClassRate(
                shape=shape,
                steps=steps,
                guidance=0.0,
                arrivals_per_s=rate * weight / sum(given),
            )
            for shape, weight in zip(shapes, given, strict=True)
            if weight
        ),
    )


def question(
    name: str,
    load: Load,
    cluster: Cluster = PAPER,
    previous: PlacementPlan | None = None,
    *,
    now: float = 0.0,
    gpu_limit: int = 100_000,
    batch: int = 1,
) -> PlacementInputs:
    """What a placement planner looks at."""
    known = profile(name)
    return PlacementInputs(
        spec=pipeline(
            *(stage_spec(stage, devices=1, batch=batch) for stage in STAGES),
            slo=250,
            gpu_limit=gpu_limit,
        ),
        load=load,
        cluster=cluster,
        previous=previous,
        profile=known,
        infeasible=(),
        now=now,
        cost=CostModel(known),
    )


def devices(plan: PlacementPlan) -> dict[str, int]:
    """Devices by placement type, in the words of the paper."""
    letters = {Stage.ENCODE: "E", Stage.DIFFUSE: "D", Stage.DECODE: "C"}
    found: dict[str, int] = {}
    for pool in plan.pools:
        word = "".join(letters[stage] for stage in STAGES if stage in pool.shape.stages)
        found[word] = found.get(word, 0) + pool.workers * pool.shape.devices
    return found


def by_node(plan: PlacementPlan) -> dict[NodeId, int]:
    """Devices that a plan holds of every node."""
    found: dict[NodeId, int] = {}
    for pool in plan.pools:
        for node, workers in pool.nodes:
            found[node] = found.get(node, 0) + workers * pool.shape.devices
    return found
