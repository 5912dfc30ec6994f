"""Which contenders there are: the opponent's family, ours, and everybody else, with settings. Pure.

The opponent is a family: the paper leaves open how often its program is solved, how requests age,
how efficient a degree must be, and whether decode is in the estimate. `CHOSEN` names the member
that speaks for it, which the runs of section `family` decide (`halving`), and no other cells.
"""

from dataclasses import replace
from itertools import product
from math import inf

from paper.contenders import ByDeadline, ByRemaining, Contender, PlacementChoice, Tuned
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.degrees import KStar, LargestEfficientThatFits
from tridentserve.planner.dispatch.desk import Settings
from tridentserve.planner.dispatch.edf_preemptive import EdfPreemptive
from tridentserve.planner.dispatch.fits import fewest_blocks_broken
from tridentserve.planner.dispatch.ilp import Covers, IlpSettings, Late
from tridentserve.planner.dispatch.ordered import Rules
from tridentserve.planner.dispatch.planned import AsPlanned
from tridentserve.planner.dispatch.pricing import Pricing
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.server_filling import ServerFilling
from tridentserve.planner.dispatch.tetri_rounds import TetriRounds
from tridentserve.planner.placement.colocated import ColocatedSettings
from tridentserve.planner.placement.joint import JointSettings
from tridentserve.planner.placement.moves import MoveCosts
from tridentserve.planner.placement.orchestrator import OrchestratorSettings
from tridentserve.planner.placement.static_split import StaticSplitSettings
from tridentserve.planner.registry import DISPATCH_POLICIES
from tridentserve.sim.scenario import DecisionPart

DEGREES = (1, 2, 4, 8)
_MOVES = MoveCosts(residency=True)
THEIR_PLACEMENT = OrchestratorSettings(costs=_MOVES)
OUR_PLACEMENT = JointSettings(costs=_MOVES)
_WHOLE = ColocatedSettings()
_DRAINING = Rules(
    degrees=LargestEfficientThatFits(), passing=Passing.RESERVATION, fit=fewest_blocks_broken
)


BOUND = Contender(name="bound", dispatch="Fifo", placement=_WHOLE)
"""Not a policy: stands for the relaxations of `bounds`."""


def _theirs(settings: IlpSettings) -> Contender:
    parts = [f"w{settings.window_s:g}", f"a{settings.ageing:g}", f"e{settings.threshold:g}"]
    parts = parts[:1] + parts[2:] if settings.late is Late.INVERTED else parts
    name = f"theirs/{settings.late.value}/{settings.covers.value}/{'/'.join(parts)}"
    return Contender(name=name, dispatch=settings, placement=THEIR_PLACEMENT)


def opponents() -> tuple[Contender, ...]:
    """The family of what the paper describes.

    What the estimate covers, ageing and the filter are crossed, for they decide together which
    degrees a late request may take. The window, half a second beside services of half a minute, is
    varied from the first member alone.
    """
    crossed = product((Covers.REST, Covers.DIFFUSE), (0.1, 0.0, 0.5), (0.8, 0.6))
    sound = [
        IlpSettings(ageing=ageing, threshold=threshold, covers=covers)
        for covers, ageing, threshold in crossed
    ]
    windows = [IlpSettings(window_s=window_s) for window_s in (0.25, 1.0)]
    inverted = [
        IlpSettings(late=Late.INVERTED, threshold=threshold, covers=covers)
        for covers, threshold in product((Covers.DIFFUSE, Covers.REST), (0.8, 0.6))
    ]
    return tuple(map(_theirs, (*sound, *windows, *inverted)))


def _fixed(name: str, dispatch: str, placement: PlacementChoice) -> Contender:
    return Contender(name=name, dispatch=dispatch, placement=placement)


def _others(names: tuple[str, ...]) -> tuple[Contender, ...]:
    """Every other dispatch policy that there is, with its usual settings, on whole nodes."""
    families = ("B1", "B2", "B3", "B4", "B5", "B6", "Ilp", "DeadlineAware")
    # With the care for whole groups that ours has too, these are among `best_fits` and `_tuned`.
    rules = ("EarliestDeadline/BackFill", "ShortestRemaining/KStar")
    others = [name for name in names if not name.startswith((*families, *rules))]
    return tuple(_fixed(f"policy/{name}", name, _WHOLE) for name in others)


def _tuned() -> tuple[Contender, ...]:
    """Those of the others that have settings, at more of them than their usual ones."""
    shortest = {
        f"SRPT/largest/{passing.value}/a{ageing:g}": ByRemaining(
            rules=replace(_DRAINING, passing=passing), ageing=ageing
        )
        for passing, ageing in product((Passing.RESERVATION, Passing.BACK_FILL), (0.03, 0.1, 0.3))
    }
    rounds = {
        f"TetriRounds{'/Elastic' if growth else ''}/{round_s:g}s": Tuned(
            policy=TetriRounds, settings=(("round_s", round_s), ("growth", growth))
        )
        for growth, round_s in product((None, Redecision()), (0.5, 1.0, 5.0))
    }
    pauses = {
        f"EdfPreemptive/cap{cap}": Tuned(policy=EdfPreemptive, settings=(("cap", cap),))
        for cap in (0, 1, 16)
    }
    filling = {
        f"ServerFilling/cap{cap}/a{ageing:g}": Tuned(
            policy=ServerFilling, settings=(("cap", cap), ("ageing", ageing))
        )
        for cap, ageing in ((1, 0.1), (16, 0.1), (4, 0.03), (4, 0.3), (4, 1.0))
    }
    return tuple(
        Contender(name=name, dispatch=dispatch, placement=_WHOLE)
        for name, dispatch in (shortest | rounds | pauses | filling).items()
    )


def strongest_others() -> tuple[Contender, ...]:
    """Of each kind of `baselines` that comes near ours there, the setting with most on time."""
    names = ("SRPT/a0.03", "ServerFilling/cap1/a0.1", "TetriRounds/0.5s")
    return tuple(one for one in baselines() if one.name in names)


def static_degrees() -> tuple[Contender, ...]:
    """B1 at every degree."""
    return tuple(_fixed(f"B1/{degree}", f"B1/{degree}", _WHOLE) for degree in DEGREES)


def best_fits() -> tuple[Contender, ...]:
    """Earliest deadline first, best fit, with the same care for whole groups as ours."""
    rules = {
        "EDF/largest": _DRAINING,
        "EDF/kstar": replace(_DRAINING, degrees=KStar()),
        "EDF/largest/backfill": replace(_DRAINING, passing=Passing.BACK_FILL),
    }
    return tuple(
        Contender(name=name, dispatch=ByDeadline(rules=one), placement=_WHOLE)
        for name, one in rules.items()
    )


def baselines() -> tuple[Contender, ...]:
    """B2 to B6, manual splits at every degree, stages scaled one by one, and every policy else."""
    shares = ((1, 6, 1), (1, 12, 3), (1, 28, 3))
    splits = [
        StaticSplitSettings(encode=e, diffuse=d, decode=c, group=degree)
        for (e, d, c), degree in product(shares, DEGREES)
    ]
    shortest = Rules(degrees=KStar(), passing=Passing.BACK_FILL)
    return (
        _fixed("B2", "B2", "Bucketed"),
        _fixed("B3/strict", "B3", _WHOLE),
        _fixed("B3/backfill", "B3/BackFill", _WHOLE),
        _fixed("B4", "B4", _WHOLE),
        _fixed("B5", "B5", "BucketedStages"),
        *(
            _fixed(f"B6/{e}:{d}:{c}", "B6", StaticSplitSettings(encode=e, diffuse=d, decode=c))
            for e, d, c in shares
        ),
        *(
            _fixed(f"split/{one.encode:g}:{one.diffuse:g}:{one.decode:g}/{one.group}", "Fifo", one)
            for one in splits
        ),
        *(
            Contender(
                name=f"SRPT/a{ageing:g}",
                dispatch=ByRemaining(rules=shortest, ageing=ageing),
                placement=_WHOLE,
            )
            for ageing in (0.03, 0.1, 0.3)
        ),
        *(
            Contender(
                name=f"HPA/{degree}",
                dispatch="Fifo",
                placement="Proportional",
                devices=((Stage.DIFFUSE, degree),),
            )
            for degree in DEGREES
        ),
        _fixed("partition/fifo", "B5", "ClassPartition"),
        Contender(
            name="partition/deadline",
            dispatch=ByDeadline(rules=replace(_DRAINING, degrees=AsPlanned(KStar()))),
            placement="ClassPartition",
        ),
        *_others(DISPATCH_POLICIES),
        *_tuned(),
    )


_USUAL = Settings(store="nccl")
OURS = Contender(name="ours", dispatch=_USUAL, placement=OUR_PLACEMENT)
WITH_STEPS = replace(OURS, name="ours/steps", dispatch=replace(_USUAL, redecision=Redecision()))


def factorial(opponent: Contender) -> tuple[Contender, ...]:
    """{theirs, ours} placement x {theirs, ours} dispatch; ours with decisions at steps apart."""
    alone = replace(OUR_PLACEMENT, aims=replace(OUR_PLACEMENT.aims, replicas=1))
    return (
        opponent,
        OURS,
        replace(OURS, name="ours/their placement", placement=THEIR_PLACEMENT),
        replace(OURS, name="ours/one encoder", placement=alone),
        replace(opponent, name="theirs/our placement", placement=OUR_PLACEMENT),
        WITH_STEPS,
    )


_MEASURED_SOLVER = DecisionPart(base_s=0.00036, per_waiting_s=0.000013, per_device_s=0.0000007)
_MEASURED_LOOP = DecisionPart(base_s=0.00063, per_waiting_s=0.0, per_device_s=0.0)
"""What decisions of the opponent and of ours took, fitted (`sim.fitting`).

To twelve runs of CogVideoX at 32, 64 and 128 devices, loads 0.85 and 1.1, on one core of a Xeon at
2.1 GHz that other work kept warm.
"""


def as_measured(contender: Contender) -> Contender:
    """The same, by the same name, with decisions charged what they took."""
    solves = isinstance(contender.dispatch, IlpSettings)
    return replace(contender, charged=_MEASURED_SOLVER if solves else _MEASURED_LOOP)


def charged_as_measured(opponent: Contender) -> tuple[Contender, ...]:
    """Both with what their decisions took, under names of their own."""
    return (
        replace(as_measured(opponent), name="theirs/charged as measured"),
        replace(as_measured(OURS), name="ours/charged as measured"),
    )


def ablations() -> tuple[Contender, ...]:
    """Ours, each with one mechanism less, or with one that works to another measure."""
    changed = {
        "no pricing": replace(_USUAL, pricing=None),
        "no reservation": replace(_USUAL, reservation=None),
        "no defragmentation": replace(_USUAL, defragmentation=False),
        "no nesting": replace(_USUAL, nesting=False),
        "no water-filling": replace(_USUAL, water_filling=None),
        "no thrift": replace(_USUAL, thrift=None),
        "no mingling": replace(_USUAL, mingling=False),
        "shortest late first": replace(_USUAL, by_ratio=False),
        "no ageing": replace(_USUAL, patience=inf),
        "never held back": replace(_USUAL, pricing=Pricing(patience=0.0)),
        "held back while on time": replace(_USUAL, pricing=Pricing(patience=inf)),
        "planned prices": replace(_USUAL, pricing=Pricing(planned=True)),
    }
    return tuple(
        replace(OURS, name=f"ours/{name}", dispatch=settings) for name, settings in changed.items()
    )


CHOSEN = {"theirs": "theirs/inverted/diffuse/w0.5/e0.6"}
"""Who speaks for the family: the best of the rounds of section `family` as they are measured."""


def opponent() -> Contender:
    """The member of the family that all is compared with."""
    return next(one for one in opponents() if one.name == CHOSEN["theirs"])
