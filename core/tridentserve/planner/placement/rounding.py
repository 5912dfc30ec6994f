"""From shares of configurations to whole nodes: the largest remainders, then repair by moving.

The program behind the joint placement answers with 3.7 nodes of this and 0.3 of that. Two roundings
are offered: every configuration by its remainder, and one node of the mixture for what remains
(on one node that is the only one that mixes at all). Which of them is better, and whether devices
moved between types make it better still, is for the judge (`prediction`) to say.

`improved` is a plain descent: it takes the first move that helps, from the least used type to the
most used, and stops after a bounded number of looks. It finds no better plan that needs two moves.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor

from tridentserve.planner.placement.columns import Configuration
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.projection import PlacementType

_ROUNDING = 1e-6
GOOD_ENOUGH = 0.05
"""Requests that wait, on the mean: no move is worth a look."""
_STEPS = (1, 2, 4)
"""Devices that are moved at once."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """How many nodes of each kind carry what; kinds by their number."""

    counts: tuple[tuple[int, Configuration, int], ...]
    """(kind, configuration, nodes), sorted, nodes 1 or more."""

    @staticmethod
    def of(counts: Mapping[tuple[int, Configuration], int]) -> "Nodes":
        """From nodes by kind and configuration."""
        kept = {key: count for key, count in counts.items() if count > 0}
        return Nodes(tuple((*key, kept[key]) for key in sorted(kept)))


Judge = Callable[[Nodes], float]
"""The score of a choice; less is better."""


def by_remainder(shares: Mapping[Configuration, float], nodes: int) -> Counter[Configuration]:
    """Whole nodes by configuration: floors, then the largest remainders."""
    ordered = sorted(shares)
    counts = apportion(nodes, [shares[one] for one in ordered])
    return +Counter(dict(zip(ordered, counts, strict=True)))


def by_mixture(shares: Mapping[Configuration, float], nodes: int) -> Counter[Configuration]:
    """Floors, and for every node that remains the mixture of what they leave out."""
    whole = sum(shares.values())
    scaled = {one: share * nodes / whole for one, share in shares.items()}
    counts = Counter({one: floor(share + _ROUNDING) for one, share in scaled.items()})
    rest = nodes - sum(counts.values())
    if rest > 0:
        mixed: Counter[PlacementType] = Counter()
        weights: dict[PlacementType, float] = {}
        for one in sorted(scaled):
            for kind, devices in one:
                left = (scaled[one] - counts[one]) * devices
                weights[kind] = weights.get(kind, 0.0) + max(0.0, left)
        kinds = sorted(weights)
        devices = sum(count for _, count in next(iter(shares)))
        parts = apportion(devices, [weights[kind] for kind in kinds])
        mixed.update(dict(zip(kinds, parts, strict=True)))
        counts[tuple((kind, mixed[kind]) for kind in kinds if mixed[kind])] += rest
    return +counts


def improved(
    start: Nodes,
    judge: Judge,
    order: Callable[[Nodes], Sequence[PlacementType]],
    looks: int,
) -> Nodes:
    """A choice that no single move of devices between two types of a node makes better.

    Args:
        start: where to begin.
        judge: scores a choice.
        order: types by how much they are used, the least used first.
        looks: how often to ask the judge at most.
    """
    best, score = start, judge(start)
    seen = {start}
    while looks > 0 and score > GOOD_ENOUGH:
        for other in _neighbours(best, order(best)):
            if other in seen:
                continue
            seen.add(other)
            looks -= 1
            found = judge(other)
            if found < score:
                best, score = other, found
                break
            if looks <= 0:
                return best
        else:
            return best
    return best


def _neighbours(nodes: Nodes, order: Sequence[PlacementType]) -> Iterator[Nodes]:
    """One node changed: devices of a little used type given to a much used one."""
    pairs = [
        (giver, taker)
        for taker in reversed(order)
        for giver in order
        if giver is not taker and order.index(giver) < order.index(taker)
    ]
    for giver, taker in pairs:
        for number, configuration, _ in nodes.counts:
            there = dict(configuration)
            for devices in _STEPS:
                if there.get(giver, 0) >= devices:
                    yield _moved(nodes, number, configuration, giver, taker, devices)


def _moved(
    nodes: Nodes,
    number: int,
    configuration: Configuration,
    giver: PlacementType,
    taker: PlacementType,
    devices: int,
) -> Nodes:
    changed = dict(configuration)
    changed[giver] -= devices
    changed[taker] = changed.get(taker, 0) + devices
    after = tuple((kind, changed[kind]) for kind in sorted(changed) if changed[kind])
    counts = Counter({(kind, one): count for kind, one, count in nodes.counts})
    counts[number, configuration] -= 1
    counts[number, after] += 1
    return Nodes.of(counts)
