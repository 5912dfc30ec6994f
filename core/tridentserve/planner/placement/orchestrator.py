"""The paper's Dynamic Orchestrator: `replicas.arrange`, asked again when stages go out of balance.

The published trigger (section 1.8): the fastest stage serves 1.5 times the rate of the slowest.
Rates are taken here relative to those of the balanced placement, type by type: a type that cannot
be had in less than one device is not fast, it is as balanced as it gets. On noisy rates the trigger
oscillates (section 5.6), so three things of ours come before a change: the mix is smoothed, a
placement stays for a minimum time, and the change has to pay: what it serves more within a horizon
against what its devices do not serve while they change.

| looked at | answer |
| --- | --- |
| nothing known | what there is |
| no placement yet | `arrange` (the paper's P_init; from the profile where there is no load) |
| balanced, or too early, or it does not pay | what there is, and why |
| out of balance | `arrange` (P_switch) |

The mix in the memory is that of the last look. An object of the class keeps it between calls; a
new one starts smoothing anew and changes at the first imbalance.
"""

from dataclasses import dataclass, field, replace

from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.errors import UndeployableError
from tridentserve.planner.placement.moves import MoveCosts, lost_device_s, moves
from tridentserve.planner.placement.replicas import Needs, arrange, needs_of, tenant_of
from tridentserve.planner.placement.smoothing import Remembered, smoothed_survey
from tridentserve.planner.placement.survey import Survey, held
from tridentserve.planner.projection import PlacementType, type_of
from tridentserve.planner.protocols import PlacementInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """The trigger, and what keeps it from oscillating."""

    trigger: float = 1.5
    """Rate of the fastest type over that of the slowest."""
    tau_s: float = 60.0
    """Memory of the smoothed mix."""
    dwell_s: float = 120.0
    """How long a placement stays at least."""
    horizon_s: float = 600.0
    """In which a change has to pay."""
    costs: MoveCosts = field(default_factory=MoveCosts)


class Orchestrator:
    """Virtual replicas by share, split by rate, packed by node; changed when out of balance."""

    def __init__(self, settings: OrchestratorSettings | None = None) -> None:
        """Remember nothing yet."""
        self.settings = settings or OrchestratorSettings()
        self.memory = Remembered()

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The placement in force, or a better one."""
        plan, self.memory = look(inputs, self.memory, self.settings)
        return plan


def look(
    inputs: PlacementInputs, memory: Remembered, settings: OrchestratorSettings
) -> tuple[PlacementPlan, Remembered]:
    """One look: the placement, and the memory for the next."""
    seen, memory = smoothed_survey(inputs, memory, settings.tau_s)
    if seen is None:
        return held(inputs), memory
    wanted = arrange(seen)
    if inputs.previous is None or not inputs.previous.pools:
        return wanted, replace(memory, changed_s=inputs.now)
    kept = _kept(inputs, seen, inputs.previous, wanted, memory, settings)
    if kept is not None:
        return replace(inputs.previous, reasons=(kept,)), memory
    return wanted, replace(memory, changed_s=inputs.now)


def _kept(
    inputs: PlacementInputs,
    seen: Survey,
    previous: PlacementPlan,
    wanted: PlacementPlan,
    memory: Remembered,
    settings: OrchestratorSettings,
) -> Reason | None:
    """Why the previous placement stays; None where it should not."""
    if previous.id == wanted.id and previous.pools == wanted.pools:
        return Reason(code="Unchanged", message="the mix asks for what there is")
    tenants = [one for one in (tenant_of(seen, traffic) for traffic in seen.traffic) if one]
    if not seen.holds(previous):
        return None
    if not tenants or not wanted.pools:
        return Reason(code="NoBetter", message="no placement holds the mix")
    rates = _relative_rates(_devices(previous), _devices(wanted))
    slowest, fastest = min(rates.values()), max(rates.values())
    if fastest < settings.trigger * slowest:
        message = f"types serve {slowest:.2f} to {fastest:.2f} of their balanced rates"
        return Reason(code="Balanced", message=message)
    if memory.changed_s is not None and inputs.now - memory.changed_s < settings.dwell_s:
        message = (
            f"changed {inputs.now - memory.changed_s:.0f} s ago, dwells {settings.dwell_s:.0f} s"
        )
        return Reason(code="Dwell", message=message)
    return _does_not_pay(inputs, previous, wanted, needs_of(tenants), settings)


def _relative_rates(
    there: dict[PlacementType, int], wanted: dict[PlacementType, int]
) -> dict[PlacementType, float]:
    """Rate of every type over its rate in the balanced placement; infinite where it is idle."""
    return {
        kind: there.get(kind, 0) / wanted[kind] if wanted.get(kind) else float("inf")
        for kind in sorted({*there, *wanted})
    }


def _does_not_pay(
    inputs: PlacementInputs,
    previous: PlacementPlan,
    wanted: PlacementPlan,
    needs: Needs,
    settings: OrchestratorSettings,
) -> Reason | None:
    """Requests served more within the horizon against those not served during the change."""
    served = min(needs.headroom(_devices(wanted)).values())
    before = min(needs.headroom(_devices(previous)).values())
    gain = (served - before) * settings.horizon_s
    changes = moves(previous, wanted, inputs.profile, settings.costs)
    cost = lost_device_s(changes) / sum(work for _, work in needs.by_type)
    if gain > cost:
        return None
    message = (
        f"{gain:.3g} requests more in {settings.horizon_s:.0f} s do not pay for {cost:.3g} less"
        f" during {len(changes)} moves"
    )
    return Reason(code="DoesNotPay", message=message)


def _devices(plan: PlacementPlan) -> dict[PlacementType, int]:
    """Devices by placement type; pools of no type, such as encode with decode, count nowhere."""
    found: dict[PlacementType, int] = {}
    for pool in plan.pools:
        try:
            kind = type_of(pool.shape)
        except UndeployableError:
            continue
        found[kind] = found.get(kind, 0) + pool.workers * pool.shape.devices
    return found
