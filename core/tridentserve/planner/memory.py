"""What fits on a device: the weights that stay on it, and the largest peaks that may coincide.

    bytes(device) = weights of its resident stages + the largest peaks that can run at once

One call at a time runs on a device unless its sharing mode isolates workers, so usually that is one
peak. Sequence parallelism shards activations, never weights, so no degree makes weights fit. A peak
that the profile lacks comes from its neighbours in size, on one device, divided among the devices
of the strategy. Where the profile states no memory at all, everything fits: it is no gate then.

Every picture of a batch brings its peak; `most` says how many of them fit.

Nobody published the peaks; they are assumptions of the shipped profiles. That FLUX does not fit one
45 GB device whole rests on `decode_peak_gb` (decode untiled at 2048 x 2048), while HunyuanVideo
fails by its weights alone but for clips of a few frames.
"""

from collections.abc import Iterable

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.cost.interpolation import Point, peak_at
from tridentserve.planner.cost.parallel import parts


def shared_bytes(weights: Iterable[int], peaks: Iterable[int], concurrent: int = 1) -> int:
    """Bytes that a device needs for everything resident on it.

    Args:
        weights: of every resident stage, of every worker that holds the device.
        peaks: of every call that may run there.
        concurrent: calls that may run at the same time.

    >>> shared_bytes([24, 10], [3, 12, 5], concurrent=2)
    51
    """
    return sum(weights) + sum(sorted(peaks, reverse=True)[:concurrent])


def held(profile: Profile, capable: frozenset[Stage], stage: Stage) -> frozenset[Stage]:
    """Stages whose weights are on a device while one of them runs there.

    All that its worker is capable of, unless they are too much together: then it swaps them.
    """
    together = sum(profile.weights(one) for one in capable)
    return capable if together <= profile.usable_bytes else frozenset((stage,))


def most(
    cost: CostModel,
    capable: frozenset[Stage],
    stage: Stage,
    shape: Shape,
    strategy: Strategy = SINGLE,
    *,
    slots: int,
    pictures: int = 1,
) -> int:
    """Requests of one call that each of its devices has the memory for.

    At least 1, for whether one fits is asked elsewhere; at most `slots`. What the costs say of
    batches is believed, else a batch has the peak of one picture that many times.

    Args:
        cost: knows weights and peaks.
        capable: stages of the worker.
        stage: that is to run.
        shape: of every request.
        strategy: how the call uses its devices.
        slots: requests that the worker takes in one call.
        pictures: of every request.
    """
    profile = cost.profile
    if not profile.usable_bytes:
        return slots
    weights = sum(profile.weights(one) for one in held(profile, capable, stage))
    for size in range(2, slots + 1):
        call = cost.estimate(stage, shape, 1, 100, size * pictures, strategy=strategy)
        if call is not None and weights + call.peak_bytes > profile.usable_bytes:
            return size - 1
    return slots


def peak_bytes(profile: Profile, stage: Stage, shape: Shape, strategy: Strategy = SINGLE) -> int:
    """Bytes of a call of one request on each of its devices, beside the weights.

    0 where the profile says nothing.
    """
    samples = [one for one in profile.samples if one.stage is stage and one.batch == 1]
    for one in samples:
        if (one.shape, one.strategy) == (shape, strategy):
            return one.peak_bytes
    points = _points(profile, stage, samples)
    if not points:
        return 0
    split = strategy.vae_tiles if stage is Stage.DECODE else 1
    if stage is Stage.DIFFUSE:
        split = parts(strategy, guided=profile.guided)
    return round(_peak_at(points, _size(profile, stage, shape)) / split)


def device_bytes(
    profile: Profile,
    stages: frozenset[Stage],
    shape: Shape,
    strategy: Strategy = SINGLE,
    *,
    concurrent: int = 1,
) -> int:
    """Bytes that one device needs to hold `stages` and to run a shape through all of them.

    Args:
        profile: weights, peaks, and how they grow.
        stages: resident on the device.
        shape: of the requests.
        strategy: how diffuse splits a step; its `vae_tiles` are decode's.
        concurrent: calls that may run at the same time.
    """
    return shared_bytes(
        (profile.weights(stage) for stage in stages),
        (peak_bytes(profile, stage, shape, strategy) for stage in stages),
        concurrent,
    )


def fits(
    profile: Profile,
    stages: frozenset[Stage],
    shape: Shape,
    strategy: Strategy = SINGLE,
    usable_bytes: int = 0,
) -> bool:
    """Whether a shape can run through `stages` on devices that hold all of them.

    Args:
        profile: weights, peaks, and how they grow.
        stages: resident on each of the devices.
        shape: of the requests.
        strategy: how diffuse splits a step.
        usable_bytes: of the device; 0 takes the profile's, and where that is 0 all fits.
    """
    usable = usable_bytes or profile.usable_bytes
    return usable == 0 or device_bytes(profile, stages, shape, strategy) <= usable


def _size(profile: Profile, stage: Stage, shape: Shape) -> int:
    if stage is Stage.DIFFUSE and profile.architecture is not None:
        return profile.architecture.tokens(shape)
    return shape.volume


def _points(profile: Profile, stage: Stage, samples: Iterable[Sample]) -> list[Point]:
    """Known peaks on one device by ascending size, the largest of those of one size."""
    by_size: dict[int, int] = {}
    for one in samples:
        if one.strategy == SINGLE:
            size = _size(profile, stage, one.shape)
            by_size[size] = max(one.peak_bytes, by_size.get(size, 0))
    return [Point(size=size, peak_bytes=peak) for size, peak in sorted(by_size.items())]


def _peak_at(points: list[Point], size: int) -> float:
    if len(points) == 1:
        return points[0].peak_bytes * max(1.0, size / points[0].size)
    above = next((i for i, one in enumerate(points) if one.size > size), len(points) - 1)
    right = max(1, above)
    return peak_at(points[right - 1], points[right], size)
