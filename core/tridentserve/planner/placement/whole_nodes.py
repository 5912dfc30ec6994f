"""Whole nodes for a blueprint: two roundings, the better one improved by moves of devices.

The judge is `prediction`, the same for all; its answers are kept while one look lasts.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from math import ceil

from tridentserve.planner.placement.columns import Configuration
from tridentserve.planner.placement.flows import Aims, Place
from tridentserve.planner.placement.joint_program import Blueprint
from tridentserve.planner.placement.prediction import Prediction, Predictor
from tridentserve.planner.placement.rounding import (
    Nodes,
    by_mixture,
    by_remainder,
    improved,
)
from tridentserve.planner.placement.standby import Supply, lacking
from tridentserve.planner.placement.survey import Survey
from tridentserve.planner.projection import PlacementType

_ROUNDING = 1e-6
_HEADROOM = 2.0
"""How much more of the same load spare nodes leave room for before they go to diffuse alone."""

Rounding = Callable[[Mapping[Configuration, float], int], Counter[Configuration]]


def whole_nodes(seen: Survey, plan: Blueprint, aims: Aims, *, filling: bool, looks: int) -> Nodes:
    """What every node carries.

    Args:
        seen: classes and nodes.
        plan: shares of configurations.
        aims: of the judge.
        filling: whether nodes that the blueprint does not need are used too.
        looks: how many choices the judge may see beside the roundings.
    """
    judge = _Judge(seen, plan, aims)
    starts = [_rounded(plan, rounding, filling=filling) for rounding in (by_remainder, by_mixture)]
    return improved(min(starts, key=judge.score), judge.score, judge.order, looks)


def _rounded(plan: Blueprint, rounding: Rounding, *, filling: bool) -> Nodes:
    counts: Counter[tuple[int, Configuration]] = Counter()
    for number, kind in enumerate(plan.kinds):
        shares, nodes = plan.shares[number], len(kind.nodes)
        if filling and plan.types[number]:
            shares = _filled(shares, plan.types[number], kind.devices, nodes)
        elif shares:
            nodes = min(nodes, ceil(sum(shares.values()) - _ROUNDING))
        if shares:
            for configuration, count in rounding(shares, nodes).items():
                counts[number, configuration] += count
    return Nodes.of(counts)


def _filled(
    shares: Mapping[Configuration, float],
    types: tuple[PlacementType, ...],
    devices: int,
    nodes: int,
) -> Mapping[Configuration, float]:
    """Shares of all nodes of a kind: room for a growing load, the rest for a heavier mix."""
    needed = sum(shares.values())
    scale = min(_HEADROOM, nodes / needed) if needed else 1.0
    filled = {one: share * scale for one, share in shares.items()}
    there = dict.fromkeys(types, 0.0)
    for one, share in shares.items():
        for kind, count in one:
            there[kind] += share * count
    main = max(types, key=lambda kind: (kind.is_primary, there[kind], -types.index(kind)))
    whole = ((main, devices),)
    filled[whole] = filled.get(whole, 0.0) + max(0.0, nodes - needed * scale)
    return filled


class _Judge:
    """Scores choices, and remembers the scores."""

    def __init__(self, seen: Survey, plan: Blueprint, aims: Aims) -> None:
        self._seen, self._plan, self._aims = seen, plan, aims
        self._predictor = Predictor(seen, aims)
        self._known: dict[Nodes, Prediction] = {}

    def score(self, nodes: Nodes) -> float:
        """Less is better."""
        return self._prediction(nodes).cost

    def order(self, nodes: Nodes) -> list[PlacementType]:
        """Useful types, the least used first; one that is lacking counts as used up.

        One whose workers are too few comes after all others, as it will be given devices first.
        """
        used = {kind: 1.0 for types in self._plan.types for kind in types}
        for pool in self._prediction(nodes).pools:
            used[pool.place.kind] = pool.utilisation
        for stage in lacking(self._supply(nodes), self._aims.replicas):
            used[PlacementType((stage,))] = float("inf")
        return sorted(used, key=lambda kind: (used[kind], kind))

    def _prediction(self, nodes: Nodes) -> Prediction:
        if nodes not in self._known:
            self._known[nodes] = self._predictor.of(self._supply(nodes))
        return self._known[nodes]

    def _supply(self, nodes: Nodes) -> Supply:
        found: dict[Place, Counter[int]] = {}
        for number, configuration, count in nodes.counts:
            for kind, devices in configuration:
                place = Place(kind, self._plan.kinds[number].usable_bytes)
                single = kind in self._seen.ungrouped
                workers = found.setdefault(place, Counter())
                workers[1 if single else devices] += count * (devices if single else 1)
        return found
