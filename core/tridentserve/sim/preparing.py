"""What has to happen before a call works, in seconds: hand-off, group, weights, first shape.

It remembers where outputs lie, which groups are hot, what workers have loaded and met.
"""

from collections.abc import Sequence
from dataclasses import replace

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, RequestId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.sim.calls import Job
from tridentserve.sim.groups import Groups
from tridentserve.sim.world import World


class Preparing:
    """Outputs, groups, weights and shapes of all workers."""

    def __init__(self, world: World, groups: Groups) -> None:
        """Nobody is up."""
        self._world, self._groups = world, groups
        self._outputs: dict[RequestId, dict[Stage, WorkerId]] = {}
        self._met: dict[WorkerId, set[tuple[Stage, Shape, Strategy]]] = {}

    def up(self, worker: Worker) -> None:
        """A worker is there, or described itself anew."""
        if worker.id not in self._met:
            self._met[worker.id] = set()
            self._groups.up(worker)

    def gone(self, worker: WorkerId, *, lost: bool) -> None:
        """A worker is gone; one that was not lost has exported what it made."""
        self._met.pop(worker, None)
        self._groups.down(worker)
        if lost:
            for outputs in self._outputs.values():
                for stage in [one for one, maker in outputs.items() if maker == worker]:
                    del outputs[stage]

    def made(self, request: RequestId, stage: Stage, worker: WorkerId) -> None:
        """A request's output lies on a worker."""
        self._outputs.setdefault(request, {})[stage] = worker

    def forget(self, request: RequestId) -> None:
        """A request is gone, and its outputs with it."""
        self._outputs.pop(request, None)

    def readable(self, request: RequestId, stage: Stage) -> Stage:
        """Where a request must go on to run a stage: there, or where its input was lost."""
        outputs = self._outputs.get(request, {})
        while stage.previous is not None and stage.previous not in outputs:
            stage = stage.previous
        return stage

    def all_readable(self, job: Job) -> bool:
        """Whether the inputs of all requests are still there."""
        return all(self.readable(one, job.stage) is job.stage for one in job.requests)

    def handoff_s(self, worker: Worker, job: Job) -> float:
        """Seconds until a worker has the inputs that it did not make itself."""
        source = job.stage.previous
        if source is None:
            return 0.0
        remote = sum(self._outputs.get(one, {}).get(source) != worker.id for one in job.requests)
        return self._world.handoff_s(source, job.shape, remote)

    def regroup_s(
        self, worker: Worker, devices: Sequence[DeviceId], strategy: Strategy, job: Job
    ) -> float:
        """Seconds until devices are a group that knows the shape."""
        seconds = self._groups.use(worker.id, devices)
        first_s = self._world.first_shape_s(job.stage)
        if first_s and (kind := (job.stage, job.shape, strategy)) not in self._met[worker.id]:
            self._met[worker.id].add(kind)
            seconds += first_s
        return seconds

    def move_s(self, before: Worker, after: Worker, job: Job) -> float:
        """Seconds to bring a parked job, its inputs included, to another worker."""
        if before.id == after.id:
            return 0.0
        count = len(job.requests)
        return sum(
            self._world.handoff_s(stage, job.shape, count)
            for stage in (job.stage.previous, job.stage)
        )

    def load_s(self, stage: Stage) -> float:
        """Seconds to load a stage's weights."""
        return self._world.load_s([stage])

    def loaded(self, worker: Worker, stage: Stage) -> Worker:
        """The worker with one stage more, and without others where all do not fit together."""
        resident = worker.resident | {stage}
        for other in STAGES:
            if other is not stage and not self._world.weights_fit(resident):
                resident -= {other}
        return replace(worker, resident=resident)
