"""Ours: placement and the expected flow of every class, decided together.

| step | module |
| --- | --- |
| shares of node configurations that serve the mix at least cost | `joint_program` |
| whole nodes, then moves of devices that the judge likes | `rounding`, `prediction` |
| nodes keep what they carry where they can | `assignment` |
| the paper's placement is a candidate too, and ours is no worse by the same judge | `replicas` |
| encode and decode rest on two workers each where there is room | `standby` |
| a change has to pay within a horizon, and dwells | here, with `moves` |

What a change costs is the devices that serve nobody meanwhile, and what the workers that stay
cannot serve: to replace the only encoder stops everything, however small it is.

Nodes that the program does not need are used as well: room for twice the load in the shares of the
others, what remains for diffuse. An idle node shortens no queue. `release_spare` gives them up
instead, where devices cost money.

What it hands to dispatch: flows (which class on which pool, how wide) and prices by stage. Both are
advice; a dispatch planner that ignores them meets the same pools.

It is a slow loop: tens of small linear programs a look. It needs a solver, and says so without it.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.planner.linear import check_solver
from tridentserve.planner.placement.advice import flows_of
from tridentserve.planner.placement.assignment import layouts
from tridentserve.planner.placement.flows import Aims
from tridentserve.planner.placement.joint_program import blueprint
from tridentserve.planner.placement.moves import MoveCosts, lost_device_s, moves, staying
from tridentserve.planner.placement.packing import singled
from tridentserve.planner.placement.prediction import Prediction, predict_on
from tridentserve.planner.placement.replicas import arrange
from tridentserve.planner.placement.rounding import GOOD_ENOUGH, Nodes
from tridentserve.planner.placement.smoothing import Remembered, smoothed_survey
from tridentserve.planner.placement.survey import Survey, held
from tridentserve.planner.placement.whole_nodes import whole_nodes
from tridentserve.planner.projection import project
from tridentserve.planner.protocols import PlacementInputs

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class JointSettings:
    """What the joint placement aims at."""

    aims: Aims = field(default_factory=Aims)
    tau_s: float = 60.0
    """Memory of the smoothed mix."""
    dwell_s: float = 60.0
    """How long a placement stays at least."""
    horizon_s: float = 600.0
    """In which a change has to pay."""
    looks: int = 40
    """How many plans the repair may try."""
    release_spare: bool = False
    """Whether nodes that are not needed stay empty."""
    costs: MoveCosts = field(default_factory=MoveCosts)


class Joint:
    """Node configurations and flows by linear programs, rounded and repaired, if it pays."""

    def __init__(self, settings: JointSettings | None = None) -> None:
        """Remember nothing yet.

        Raises:
            ImportError: highspy is not installed.
        """
        check_solver("placement by Joint")
        self.settings = settings or JointSettings()
        self.memory = Remembered()

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The placement in force, or a better one."""
        plan, self.memory = look(inputs, self.memory, self.settings)
        return plan


def look(
    inputs: PlacementInputs, memory: Remembered, settings: JointSettings
) -> tuple[PlacementPlan, Remembered]:
    """One look: the placement, and the memory for the next."""
    seen, memory = smoothed_survey(inputs, memory, settings.tau_s)
    if seen is None:
        return held(inputs), memory
    wanted, prediction = best(seen, settings, inputs.previous)
    previous = inputs.previous
    if previous is None or not previous.pools or not seen.holds(previous):
        return wanted, replace(memory, changed_s=inputs.now)
    keeps, reason = _weighed(inputs, seen, previous, (wanted, prediction), memory, settings)
    if not keeps:
        changed = replace(wanted, reasons=(*wanted.reasons, reason))
        return changed, replace(memory, changed_s=inputs.now)
    flows = flows_of(previous, seen, predict_on(seen, previous, settings.aims))
    return replace(previous, reasons=(reason,), prices=wanted.prices, flows=flows), memory


def best(
    seen: Survey, settings: JointSettings, previous: PlacementPlan | None = None
) -> tuple[PlacementPlan, Prediction]:
    """The best placement for what was surveyed, whatever a change may cost.

    Args:
        seen: classes and nodes.
        settings: aims.
        previous: whose nodes keep what they carry where that is as good.
    """
    plan = blueprint(seen, settings.aims, filling=not settings.release_spare)
    chosen = whole_nodes(
        seen, plan, settings.aims, filling=not settings.release_spare, looks=settings.looks
    )
    placed = singled(layouts(chosen, plan.kinds, previous), seen.ungrouped)
    projection = project(placed, seen.capacity, (Sharing.EXCLUSIVE,))
    ours = PlacementPlan(pools=projection.pools, reasons=(), mode=projection.mode)
    theirs = arrange(seen)
    scored = [(predict_on(seen, one, settings.aims), one) for one in (ours, theirs)]
    prediction, winner = min(scored, key=lambda one: _score(one[0], one[1], settings))
    reasons = (*winner.reasons, *_figures(chosen if winner is ours else None, prediction))
    return (
        replace(
            winner,
            reasons=reasons,
            limited=prediction.unserved > _ROUNDING,
            prices=plan.prices,
            flows=flows_of(winner, seen, prediction),
        ),
        prediction,
    )


def _weighed(
    inputs: PlacementInputs,
    seen: Survey,
    previous: PlacementPlan,
    wanted: tuple[PlacementPlan, Prediction],
    memory: Remembered,
    settings: JointSettings,
) -> tuple[bool, Reason]:
    """Whether the previous placement stays, and why, or what the change costs."""
    plan, after = wanted
    before = predict_on(seen, previous, settings.aims)
    costs = replace(settings.costs, drain_s=max(settings.costs.drain_s, before.longest_call_s))
    changes = moves(previous, plan, inputs.profile, costs)
    if previous.id == plan.id and not changes:
        return True, Reason(code="Unchanged", message="the mix asks for what there is")
    since = float("inf") if memory.changed_s is None else inputs.now - memory.changed_s
    if since < settings.dwell_s:
        message = f"changed {since:.0f} s ago, dwells {settings.dwell_s:.0f} s"
        return True, Reason(code="Dwell", message=message)
    saved = before.unserved - after.unserved + before.waiting - after.waiting
    saved += before.exposed - after.exposed
    saved += _cost(previous, settings) - _cost(plan, settings)
    during = predict_on(seen, staying(previous, plan), settings.aims)
    missing = during.unserved + during.waiting - before.unserved - before.waiting
    longest_s = max((move.seconds for move in changes), default=0.0)
    cost = lost_device_s(changes) + max(0.0, missing) * longest_s
    pays = saved * settings.horizon_s > cost
    kinds = Counter(move.kind.value for move in changes)
    words = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    message = (
        f"{saved:.3g} device-seconds a second saved over {settings.horizon_s:.0f} s"
        f" {'pay' if pays else 'do not pay'} for the {cost:.3g} of {words or 'no move'}"
    )
    return not pays, Reason(code="Transition" if pays else "DoesNotPay", message=message)


def _score(
    prediction: Prediction, plan: PlacementPlan, settings: JointSettings
) -> tuple[float, ...]:
    """Less is better: demand at risk, then devices, then waiting that anybody would notice."""
    at_risk, waiting = prediction.score
    return (at_risk, _cost(plan, settings), max(waiting, GOOD_ENOUGH))


def _cost(plan: PlacementPlan, settings: JointSettings) -> int:
    """Devices that a plan takes, where those that it leaves are worth anything."""
    if not settings.release_spare:
        return 0
    return sum(pool.workers * pool.shape.devices for pool in plan.pools)


def _figures(chosen: Nodes | None, prediction: Prediction) -> tuple[Reason, ...]:
    """What was chosen, and what it is expected to do."""
    found = []
    if chosen is not None:
        words = (
            f"{count} x ({', '.join(f'{kind.name} {devices}' for kind, devices in one)})"
            for _, one, count in chosen.counts
        )
        found.append(Reason(code="NodeConfigurations", message="; ".join(words)))
    loads = (
        f"{pool.place.kind.name} {pool.devices} devices {pool.utilisation:.0%} used, mean wait"
        f" {pool.wait_s:.3g} s"
        for pool in prediction.pools
    )
    found.append(Reason(code="Predicted", message="; ".join(loads) or "nothing can be served"))
    if prediction.unserved > _ROUNDING:
        message = (
            f"demand of {prediction.unserved:.3g} devices is beyond what the pools admit,"
            f" {prediction.worst_unserved:.0%} of the class that loses most"
        )
        found.append(Reason(code="Unserved", message=message))
    return tuple(found)
