"""Which worlds the authors' dispatch is simulated in, and which first. Pure.

A world is slower than another where decode takes no less and the slow-down is no less. A dispatch
that is *far* too fast in a world (a quarter beyond the margins) is taken to be too fast in all that
are faster, and the other way round: those are excluded without a run. For a queue in order of
arrival that is a theorem; for a policy that chooses degrees it is an assumption, so a margin
is added, exclusions are counted in the report, and `contradictions` counts pairs of runs that speak
against it. Nothing passes without having been run. The run to be made next is the one that can
exclude the most whichever way it comes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from paper.published import Outcome, Published

FAR = 1.25
_SAME = 0.02
"""Of a mean: less is no contradiction, for a policy may be lucky."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is unknown about the authors' machines, beside the degree of their baseline."""

    decode_s: float
    slow_down: float

    def is_no_faster(self, other: "World") -> bool:
        """Whether everything takes at least as long as in another world."""
        return self.decode_s >= other.decode_s and self.slow_down >= other.slow_down


Made = Mapping[World, Outcome]


def is_excluded(world: World, made: Made, target: Published) -> bool:
    """Whether a world that was not run is taken to be far from what was published."""
    return any(
        (target.lag(found) > FAR and world.is_no_faster(other))
        or (target.lead(found) > FAR and other.is_no_faster(world))
        for other, found in made.items()
    )


def undecided(worlds: Sequence[World], made: Made, target: Published) -> list[World]:
    """Worlds that were not run and are not excluded, in their order."""
    return [one for one in worlds if one not in made and not is_excluded(one, made, target)]


def next_world(worlds: Sequence[World], made: Made, target: Published) -> World | None:
    """The undecided one whose run excludes the most in the worse case; among equals the first."""
    left = undecided(worlds, made, target)

    def decides(world: World) -> int:
        slower = sum(one.is_no_faster(world) for one in left)
        faster = sum(world.is_no_faster(one) for one in left)
        return min(slower, faster)

    return max(left, key=decides, default=None)


def contradictions(made: Made) -> int:
    """Pairs of worlds of which the slower has the clearly shorter mean."""
    return sum(
        one.is_no_faster(other) and slower.mean_s < faster.mean_s * (1 - _SAME)
        for (one, slower), (other, faster) in permutations(made.items(), 2)
    )
