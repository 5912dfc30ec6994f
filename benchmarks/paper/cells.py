"""A cell of the comparison: one scenario, whatever the policy.

Every figure that a cell does not name is the same in all of them and stands in `scenario_of`. The
load is what requests take at least, of all devices, *as it really is*: with a slow-down fewer
arrive. Cells are divided into those for tuning and those held out by a hash of their names with a
salt that is part of the source: nobody chose which ones.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import Stage
from tridentserve.manifest import profile_files
from tridentserve.sim.scenario import Scenario
from tridentserve.sim.workload import TRACES

SALT = "tridentserve-paper-2026-11"
HELD_OUT_PERCENT = 40
DEVICES_PER_NODE = 8
STEPS = {"cogvideox": 6, "flux": 28, "hunyuanvideo": 6, "sd3": 20}
"""As in the published results, where those say it; the traces' 50 steps overload 128 devices."""

# Rates of GF-DiT's profile relative to its mean, seconds, and weights of small, medium and large.
_FIVE = (
    (0.8, 600, (50, 35, 15)),
    (1.4, 900, (35, 40, 25)),
    (2.4, 900, (50, 30, 20)),
    (1.2, 600, (20, 35, 45)),
    (0.6, 600, (55, 35, 10)),
)
_SWITCH_S = 300
_FIVE_MEAN = sum(rate * seconds for rate, seconds, _ in _FIVE) / sum(s for _, s, _ in _FIVE)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is simulated; equal cells with equal seeds are the same events for every policy."""

    pipeline: str
    load: float
    """Share of all devices' time that the requests take at least."""
    deadline: str
    process: str = "Poisson"
    mix: str = "Medium"
    nodes: int = 16
    phases: str = ""
    """`five`: the phases of GF-DiT; `switch`: Light and Heavy in turns."""
    misprofile: float = 0.0
    decode_s: float | None = None
    """Of the largest class; None is the profile's own assumption."""
    slow_down: float = 1.0
    rate_per_s: float | None = None
    """In place of the load."""
    duration_s: float = 7200.0
    warm_up_s: float = 600.0
    """Who arrives before then is served and not counted."""
    drain_s: float = 3600.0

    @cached_property
    def name(self) -> str:
        """Says all that differs from the usual cell."""
        amount = f"{self.load:g}" if self.rate_per_s is None else f"{self.rate_per_s:g}per_s"
        parts = [self.pipeline, amount, self.deadline]
        parts += [self.process] if self.process != "Poisson" else []
        parts += [self.mix] if self.mix != "Medium" else []
        parts += [f"{self.nodes}nodes"] if self.nodes != 16 else []
        parts += [f"{self.duration_s:g}s"] if self.duration_s != 7200 else []
        parts += [self.phases] if self.phases else []
        parts += [f"wrong{self.misprofile:g}"] if self.misprofile else []
        parts += [f"c{self.decode_s:g}"] if self.decode_s is not None else []
        parts += [f"f{self.slow_down:g}"] if self.slow_down != 1 else []
        return "-".join(parts)

    @property
    def devices(self) -> int:
        """Of the whole cluster."""
        return self.nodes * DEVICES_PER_NODE

    @property
    def is_held_out(self) -> bool:
        """Whether nothing may be tuned on it."""
        return is_held_out(self.name)

    @property
    def switches_s(self) -> tuple[float, ...]:
        """When the load changes, the beginning left out."""
        if self.phases == "switch":
            count = int(self.duration_s // _SWITCH_S)
            return tuple(float(index * _SWITCH_S) for index in range(1, count))
        moments, now = [], 0.0
        while self.phases == "five" and now < self.duration_s:
            for _, seconds, _ in _FIVE:
                now += seconds
                moments.append(now)
        return tuple(one for one in moments if one < self.duration_s)

    @property
    def truthful(self) -> "Cell":
        """The same where planners believe in the true profile."""
        return replace(self, misprofile=0.0)


def is_held_out(name: str) -> bool:
    """Whether the cell of a name is kept out of tuning."""
    digest = sha256(f"{SALT}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


def profile_of(cell: Cell) -> Profile:
    """The true profile of a cell."""
    return profile_files.builtin(cell.pipeline, assumptions=_assumptions(cell))


def _assumptions(cell: Cell) -> dict[str, float]:
    return {} if cell.decode_s is None else {"decode_s": cell.decode_s}


def scenario_of(
    cell: Cell, seed: int, planner: str, devices: tuple[tuple[Stage, int], ...] = ()
) -> Scenario:
    """The scenario of a cell under a seed.

    Args:
        cell: which.
        seed: of arrivals, classes, luck and errors of the believed profile.
        planner: name of the placement planner.
        devices: of one worker by stage, for planners that do not choose it.
    """
    content: dict[str, Any] = {
        "name": cell.name,
        "seed": seed,
        "duration_s": cell.duration_s,
        "drain_s": cell.drain_s,
        "cluster": {"nodes": cell.nodes, "devices_per_node": DEVICES_PER_NODE},
        "profile": {"name": cell.pipeline, "assumptions": _assumptions(cell)},
        "workload": _workload(cell),
        "deadline": cell.deadline,
        "placement": {
            "planner": planner,
            # Weights move, pods do not: what the paper's system does (1.8), granted to everyone.
            "start": "Residency",
            "stages": {stage: {"devices": count} for stage, count in devices},
        },
        "world": {"misprofile": cell.misprofile, "slow_down": cell.slow_down},
    }
    return Scenario.model_validate(content)


def _workload(cell: Cell) -> dict[str, Any]:
    found: dict[str, Any] = {
        "trace": cell.pipeline,
        "steps": STEPS[cell.pipeline],
        "process": cell.process,
        "mix": cell.mix,
        # The public traces hold equally many of each class; elsewhere chance is part of the seed.
        "balanced": cell.process == "Constant",
    }
    if cell.phases:
        return found | {"phases": _phases(cell)}
    if cell.rate_per_s is not None:
        return found | {"rate_per_s": cell.rate_per_s}
    return found | {"load": cell.load / cell.slow_down}


def _phases(cell: Cell) -> list[dict[str, Any]]:
    load = cell.load / cell.slow_down
    if cell.phases == "switch":
        count = int(cell.duration_s // _SWITCH_S)
        mixes = ("Light", "Heavy")
        return [
            {"duration_s": _SWITCH_S, "load": load, "mix": mixes[index % 2]}
            for index in range(count)
        ]
    rounds = max(1, round(cell.duration_s / sum(seconds for _, seconds, _ in _FIVE)))
    return rounds * [
        {"duration_s": s, "load": load * rate / _FIVE_MEAN, "mix": _sizes(cell.pipeline, weights)}
        for rate, s, weights in _FIVE
    ]


def _sizes(pipeline: str, weights: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Classes by volume in three groups; the classes of a group share its weight alike."""
    shapes = sorted(TRACES[pipeline].shapes, key=lambda one: (one.volume, one))
    groups = [3 * index // len(shapes) for index in range(len(shapes))]
    return [
        {
            "shape": f"{shape.height}x{shape.width}x{shape.frames}",
            "weight": weights[group] / groups.count(group),
        }
        for shape, group in zip(shapes, groups, strict=True)
    ]
