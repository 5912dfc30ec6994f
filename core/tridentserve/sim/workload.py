"""What arrives: requests generated from parameters, equal for equal seeds.

A workload is a list of phases, each with a rate, a way of arriving and a mix of classes. The mix
named Light weighs a class by 1 / volume, Medium weighs all alike, Heavy weighs by volume, where
volume is height x width x frames: defined once, here. Shapes come *balanced* (every class as often
as its weight says, shuffled, as in the public traces) or *drawn* one by one.

A request's class depends on the seed and its own number, never on the policy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from tridentserve.domain.shapes import Shape
from tridentserve.sim.randomness import stream

LATEST_S = 1e12
"""Seconds that a file may say: no day is so long, and larger numbers cannot be reckoned with."""
MOST = 1_000_000
"""Likewise pixels a side, frames and steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it arrives, before anybody has set its deadline."""

    at_s: float
    """From the start of the run."""
    shape: Shape
    steps: int
    guidance: float = 0.0
    within_s: float | None = None
    """Its own deadline in seconds after its arrival; None leaves it to the rule."""
    id: str | None = None
    """Its name in a recording; None numbers it."""

    def name(self, index: int) -> str:
        """Its own name, else that of the request with this index, from 0, among all."""
        return f"r{index:06d}" if self.id is None else self.id


def span_s(asks: Sequence[Ask]) -> float:
    """How long requests of a file arrive, at least a second: until a mean gap after the last one.

    Args:
        asks: in order of arrival, at least one.
    """
    last_s = asks[-1].at_s
    return max(1.0, last_s + last_s / max(1, len(asks) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareOf:
    """One class of a mix."""

    shape: Shape
    steps: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with one kind of load."""

    duration_s: float
    rate_per_s: float
    mix: tuple[ShareOf, ...]
    process: str = "Constant"
    """Constant, Poisson or Gamma."""
    cv: float = 1.0
    """Coefficient of variation of the gaps of Gamma; 1 is Poisson, 2 to 4 are bursts."""
    balanced: bool = False
    guidance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceKind:
    """Parameters of a public trace, from which an equivalent is generated."""

    rate_per_s: float
    steps: int
    shapes: tuple[Shape, ...]


def _clips(*sizes: tuple[int, int], frames: Sequence[int]) -> tuple[Shape, ...]:
    return tuple(
        Shape(height=height, width=width, frames=count)
        for height, width in sizes
        for count in frames
    )


TRACES: Mapping[str, TraceKind] = MappingProxyType(
    {
        "cogvideox": TraceKind(
            rate_per_s=1.5,
            steps=50,
            shapes=_clips((768, 432), (768, 1360), frames=(17, 33, 65, 81)),
        ),
        "flux": TraceKind(
            rate_per_s=1.5,
            steps=28,
            shapes=tuple(Shape(height=side, width=side) for side in (128, 256, 512, 1024, 2048)),
        ),
        "hunyuanvideo": TraceKind(
            rate_per_s=1.0,
            steps=50,
            shapes=_clips((960, 544), (720, 1280), frames=(17, 33, 65, 129)),
        ),
        # Nobody has this one's file; mix and steps are those of the published profile and results.
        "sd3": TraceKind(
            rate_per_s=20.0,
            steps=20,
            shapes=tuple(Shape(height=side, width=side) for side in (128, 256, 512, 1024, 1536)),
        ),
    }
)
"""By name; the three public files are regular arrivals of equally many requests of each shape."""

MIXES = ("Light", "Medium", "Heavy")


def mix(name: str, shapes: Sequence[Shape], steps: int) -> tuple[ShareOf, ...]:
    """The mix of a name over these shapes.

    >>> [round(one.weight, 1) for one in mix("Light", [Shape(height=1, width=2)], 4)]
    [0.5]
    """
    power = {"Light": -1, "Medium": 0, "Heavy": 1}[name]
    return tuple(
        ShareOf(shape=one, steps=steps, weight=float(one.volume) ** power) for one in shapes
    )


def generate(phases: Sequence[Phase], seed: int) -> tuple[Ask, ...]:
    """All requests of all phases, one phase after the other, in order of arrival."""
    asks: list[Ask] = []
    began_s = 0.0
    for number, phase in enumerate(phases):
        moments = list(_moments(phase, stream(seed, "arrivals", number)))
        for index, ask in enumerate(_classes(phase, len(moments), seed, number)):
            asks.append(
                Ask(
                    at_s=began_s + moments[index],
                    shape=ask.shape,
                    steps=ask.steps,
                    guidance=phase.guidance,
                )
            )
        began_s += phase.duration_s
    return tuple(asks)


def _moments(phase: Phase, rng: Random) -> Iterator[float]:
    """Moments of arrival from the start of a phase; the first of a constant one is at 0."""
    if phase.rate_per_s <= 0:
        return
    gap_s = 1 / phase.rate_per_s
    if phase.process == "Constant":
        index = 0
        while index * gap_s < phase.duration_s:
            yield index * gap_s
            index += 1
        return
    shape = 1.0 if phase.process == "Poisson" else 1 / phase.cv**2
    at_s = rng.gammavariate(shape, gap_s / shape)
    while at_s < phase.duration_s:
        yield at_s
        at_s += rng.gammavariate(shape, gap_s / shape)


def _classes(phase: Phase, count: int, seed: int, number: int) -> list[ShareOf]:
    if not phase.balanced:
        weights = [one.weight for one in phase.mix]
        return [
            stream(seed, "class", number, index).choices(phase.mix, weights)[0]
            for index in range(count)
        ]
    dealt = _dealt(phase.mix, count)
    stream(seed, "classes", number).shuffle(dealt)
    return dealt


def _dealt(classes: Sequence[ShareOf], count: int) -> list[ShareOf]:
    """As many of each as its weight says; largest remainders get what rounding leaves."""
    total = sum(one.weight for one in classes)
    exact = [one.weight * count / total for one in classes]
    counts = [int(value) for value in exact]
    order = sorted(range(len(classes)), key=lambda index: (counts[index] - exact[index], index))
    for index in order[: count - sum(counts)]:
        counts[index] += 1
    return [one for one, times in zip(classes, counts, strict=True) for _ in range(times)]
