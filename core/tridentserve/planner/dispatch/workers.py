"""Which workers could run a stage at all, busy or not."""

from collections.abc import Iterable

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.roster import Kind, Roster
from tridentserve.planner.state import Journey, State


def hosts(worker: Worker, demand: Demand, stage: Stage, digest: str | None) -> bool:
    """Whether a worker could ever run this, busy or not; draining workers get nothing new."""
    return (
        stage in worker.capable
        and not worker.draining
        and demand.pipeline in (None, worker.pipeline)
        and digest in (None, worker.digest)
    )


def stranded(state: State) -> list[Journey]:
    """Journeys that wait for content that is going away, while other content could serve them.

    Nothing but draining workers, or none, hosts their stage for their digest, and a complete chain
    of another digest is there. Planners leave them waiting: to begin again on other content
    (`StageFailed` with `again` encode) is the journey's own decision.
    """
    found = []
    for stage in STAGES:
        for journey in state.waiting(stage):
            if journey.digest is None:
                continue
            kinds = state.roster.kinds(stage)
            if any(suits(kind, journey.demand, journey.digest) for kind in kinds):
                continue
            if any(
                digest != journey.digest and journey.demand.pipeline in (None, pipeline)
                for pipeline, digest in state.complete
            ):
                found.append(journey)
    return found


def suits(kind: Kind, demand: Demand, digest: str | None) -> bool:
    """Whether workers of a kind, which host the stage, could run this."""
    return demand.pipeline in (None, kind.pipeline) and digest in (None, kind.digest)


def eligible(
    roster: Roster, journey: Journey, kinds: Iterable[Kind]
) -> tuple[tuple[Kind, ...], frozenset[WorkerId]]:
    """Kinds that may run it, and who of them must not: nobody, where there is no other.

    Args:
        roster: that the kinds are of.
        journey: waits for its stage.
        kinds: host the stage.
    """
    suited = [kind for kind in kinds if suits(kind, journey.demand, journey.digest)]
    excluded = [kind for name in journey.excluded if (kind := roster.kind(name))]
    others = [kind for kind in suited if kind.size > excluded.count(kind)]
    chosen = others or suited
    if journey.digest is None:
        # A first segment binds the journey to a content: one that can finish it comes first.
        complete = roster.complete
        chosen = [kind for kind in chosen if (kind.pipeline, kind.digest) in complete] or chosen
    return tuple(chosen), journey.excluded if others else frozenset()


def share_memory(one: Worker, other: Worker) -> bool:
    """Whether what one writes into its shared directory, the other can read."""
    return one.domain is not None and one.domain == other.domain
