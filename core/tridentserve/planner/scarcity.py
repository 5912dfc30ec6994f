"""How many devices can run each stage of a content, kept worker by worker.

It is what tells a worker that could run a stage as well as any other from one that another stage
needs: diffusion finds a device in many places, encode perhaps in one.
"""

from collections import Counter
from collections.abc import Set

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import ContentDigest, PipelineName
from tridentserve.domain.stages import STAGES, Stage


class Scarcity:
    """Devices by content and stage."""

    def __init__(self) -> None:
        """Nobody is there."""
        self._devices: Counter[tuple[PipelineName, ContentDigest, Stage]] = Counter()

    def add(self, worker: Worker) -> None:
        """A worker can be given work."""
        for stage in worker.capable:
            self._devices[worker.pipeline, worker.digest, stage] += len(worker.devices)

    def remove(self, worker: Worker) -> None:
        """A worker that was added can be given none any more."""
        for stage in worker.capable:
            self._devices[worker.pipeline, worker.digest, stage] -= len(worker.devices)

    def devices(self, pipeline: PipelineName, digest: ContentDigest, stage: Stage) -> int:
        """How many can run a stage; a device counts once for every worker that holds it."""
        return self._devices[pipeline, digest, stage]

    def scarcer(
        self, pipeline: PipelineName, digest: ContentDigest, hosted: Set[Stage], stage: Stage
    ) -> tuple[Stage, ...]:
        """Hosted stages that fewer devices can run than this one, the scarcest first."""
        counts = [
            (self._devices[pipeline, digest, one], index, one)
            for index, one in enumerate(STAGES)
            if one in hosted
        ]
        most = self._devices[pipeline, digest, stage]
        return tuple(one for count, _, one in sorted(counts) if count < most)
