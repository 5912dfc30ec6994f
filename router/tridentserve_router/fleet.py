"""What a set of workers can do together: chains, slots, and which digest serves. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.stages import STAGES, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A summary of the workers that can be given work, by stage and by digest."""

    workers: Mapping[Stage, int] = field(default_factory=dict)
    """How many can be given the stage."""
    slots: Mapping[Stage, int] = field(default_factory=dict)
    """How many requests they can run at the same time."""
    fraction_percent: Mapping[Stage, int] = field(default_factory=dict)
    """The largest one, which is the one that dispatch prefers."""
    stages: Mapping[ContentDigest, frozenset[Stage]] = field(default_factory=dict)
    """What can be run of each digest."""

    def has_chain(self, digest: ContentDigest) -> bool:
        """Whether every stage of a digest can be run."""
        return len(self.stages.get(digest, ())) == len(STAGES)

    def may_strand(self, digest: str, stage: Stage) -> bool:
        """Whether a journey of this digest might wait for a stage in vain: worth a closer look."""
        return stage not in self.stages.get(ContentDigest(digest), ())


def summarize(workers: Iterable[Worker]) -> Fleet:
    """The fleet of these workers; draining ones count for nothing."""
    count: dict[Stage, int] = {}
    slots: dict[Stage, int] = {}
    fraction: dict[Stage, int] = {}
    stages: dict[ContentDigest, frozenset[Stage]] = {}
    for worker in workers:
        if worker.draining:
            continue
        for stage in worker.capable:
            count[stage] = count.get(stage, 0) + 1
            slots[stage] = slots.get(stage, 0) + worker.slots
            fraction[stage] = max(fraction.get(stage, 0), worker.fraction_percent)
        stages[worker.digest] = stages.get(worker.digest, frozenset()) | worker.capable
    return Fleet(workers=count, slots=slots, fraction_percent=fraction, stages=stages)
