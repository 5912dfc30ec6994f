"""How long things really take: the truth that planners only estimate.

A call takes what the true profile says, times the slow-down, times noise that belongs to the
request and the stage, so that every policy meets the same luck. Planners start from `believed`,
which is the true profile or one that is wrong by class. What a run teaches them never comes here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import RequestId
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.sim.randomness import Noise, stream
from tridentserve.sim.scenario import WorldPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Real seconds of one call: steps, then a tail; stages without steps are all tail."""

    step_s: float
    tail_s: float

    def seconds(self, steps: int) -> float:
        """Of so many steps and the tail."""
        return steps * self.step_s + self.tail_s


class World:
    """Real times by the true profile; the same for every policy."""

    def __init__(self, profile: Profile, settings: WorldPart, seed: int) -> None:
        """Read the profile through a cost model that nobody corrects."""
        self._profile, self._settings = profile, settings
        self._cost = CostModel(profile)
        self._bare: dict[tuple[object, ...], Effort | None] = {}
        self._noise = Noise(seed, settings.noise)
        self._lucks: dict[tuple[RequestId, Stage], float] = {}
        self._fitting: dict[tuple[object, ...], bool] = {}

    def effort(
        self,
        stage: Stage,
        shape: Shape,
        strategy: Strategy,
        fraction_percent: int,
        requests: Sequence[RequestId],
    ) -> Effort | None:
        """Real seconds of a call with these requests together; None where it cannot be."""
        key = (stage, shape, strategy, fraction_percent, len(requests))
        try:
            bare = self._bare[key]
        except KeyError:
            bare = self._bare[key] = self._without_noise(*key)
        if bare is None:
            return None
        # One call has one duration: the mean of its members' luck.
        factor = sum(self._luck(one, stage) for one in requests) / len(requests)
        return Effort(step_s=bare.step_s * factor, tail_s=bare.tail_s * factor)

    def handoff_s(self, stage: Stage | None, shape: Shape, items: int) -> float:
        """Seconds to fetch what a stage made for so many requests from another worker."""
        if stage is None or not items:
            return 0.0
        nbytes = self._profile.handoff_bytes(stage, shape) * items
        return self._cost.handoff_s(self._settings.store, nbytes)

    def first_shape_s(self, stage: Stage) -> float:
        """Seconds more when a worker meets a shape for the first time."""
        if not self._settings.first_shapes:
            return 0.0
        return dict(self._profile.first_shape_s).get(stage, 0.0)

    def load_s(self, stages: Iterable[Stage]) -> float:
        """Seconds to bring the weights of these stages onto a worker's devices."""
        nbytes = sum(self._profile.weights(stage) for stage in stages)
        return self._settings.load_launch_s + nbytes / self._settings.load_bytes_per_s

    def weights_fit(self, stages: Iterable[Stage]) -> bool:
        """Whether the weights of these stages fit on one device together."""
        usable = self._profile.usable_bytes
        return not usable or sum(self._profile.weights(one) for one in stages) <= usable

    def fits(
        self, worker: Worker, stage: Stage, shape: Shape, strategy: Strategy, batch: int = 1
    ) -> bool:
        """Whether a call of so many requests fits beside what is resident on a worker's devices."""
        usable = self._profile.usable_bytes
        if not self._settings.memory or not usable:
            return True
        stages = worker.resident | {stage}
        key = (stages, stage, shape, strategy, batch)
        try:
            return self._fitting[key]
        except KeyError:
            call = self._cost.estimate(stage, shape, 1, 100, batch, strategy=strategy)
            weights = sum(self._profile.weights(one) for one in stages)
            known = self._fitting[key] = call is None or weights + call.peak_bytes <= usable
            return known

    def _without_noise(
        self, stage: Stage, shape: Shape, strategy: Strategy, fraction_percent: int, batch: int
    ) -> Effort | None:
        def seconds(steps: int) -> float | None:
            found = self._cost.estimate(
                stage, shape, steps, fraction_percent, batch, strategy=strategy
            )
            return None if found is None else found.mean_s * self._settings.slow_down

        one, two = seconds(1), seconds(2)
        if one is None or two is None:
            return None
        step_s = two - one if stage is Stage.DIFFUSE else 0.0
        return Effort(step_s=step_s, tail_s=max(0.0, one - step_s))

    def _luck(self, request: RequestId, stage: Stage) -> float:
        key = (request, stage)
        known = self._lucks.get(key)
        if known is None:
            known = self._lucks[key] = self._noise.factor(request, stage)
        return known


def believed(profile: Profile, settings: WorldPart, seed: int) -> Profile:
    """The profile that planners start from.

    Every stage of every class is wrong by a share of at most `misprofile` either way, drawn from
    the seed; all strategies of a class alike.
    """
    if not settings.misprofile:
        return profile

    def wrong(sample: Sample) -> Sample:
        shape = sample.shape
        names = (sample.stage, shape.height, shape.width, shape.frames)
        share = stream(seed, "misprofile", *names).uniform(-1, 1) * settings.misprofile
        factor = 1 + share
        return replace(sample, fixed_s=sample.fixed_s * factor, step_s=sample.step_s * factor)

    return replace(profile, samples=tuple(wrong(one) for one in profile.samples))
