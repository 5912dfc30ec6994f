"""Which cells there are, at two scales that are never mixed, the most telling first. Pure.

The published size is 128 devices, and two hours make a long run: twenty to thirty times as long as
one at the *small* scale, at which every question is asked first: 32 devices in nodes of eight, at
the same load, for twenty minutes, at 1 to 3 processor seconds (Stable Diffusion 3: up to 15). A
seed is one replicate at either scale, so intervals mean the same; what differs is what they speak
of. On four nodes a request for a whole node finds one less easily than on sixteen, and in twenty
minutes a queue that grows without end is shorter than in two hours.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import product

from paper.cells import Cell

PIPELINES = ("cogvideox", "flux", "hunyuanvideo", "sd3")
WORLDS: tuple[tuple[float, float], ...] = (
    (10.5, 1.2),
    (6.0, 1.3),
    (2.0, 1.3),
    (4.0, 1.3),
    (8.0, 1.3),
    (21.0, 1.2),
)
"""Decode seconds and slow-downs for CogVideoX that pass the validity fit, the usual one first."""
CORE = (
    (0.85, "2.5x"),
    (0.7, "2.5x"),
    (0.85, "4.4x+2s"),
    (0.95, "2.5x"),
    (0.95, "4.4x+2s"),
    (0.7, "4.4x+2s"),
)
"""Loads, neither idle nor full, and deadlines that others have named."""
EDGE = (
    (0.5, "2.5x"),
    (1.1, "2.5x"),
    *product((0.85, 0.95, 0.7), ("1.5x",)),
    *product((0.5, 1.1), ("4.4x+2s", "1.5x")),
)
"""The rest of load x deadline."""
_OF_FAMILIES = 6
_USUAL = Cell(pipeline=PIPELINES[0], load=0.85, deadline="2.5x")


def small(cell: Cell) -> Cell:
    """The same at the small scale."""
    return replace(cell, nodes=4, duration_s=1200.0, warm_up_s=300.0)


def is_small(cell: Cell) -> bool:
    """Whether a cell belongs to the small scale, at any number of nodes."""
    return cell.duration_s < _USUAL.duration_s


def _of(world: tuple[float, float], load: float, deadline: str) -> Cell:
    decode_s, slow_down = world
    return replace(_USUAL, load=load, deadline=deadline, decode_s=decode_s, slow_down=slow_down)


def core() -> tuple[Cell, ...]:
    """CogVideoX where the simulator reproduces the published results, at the published size."""
    return tuple(_of(WORLDS[0], *one) for one in CORE)


def edge() -> tuple[Cell, ...]:
    """The same at other loads and tighter deadlines."""
    return tuple(_of(WORLDS[0], *one) for one in EDGE)


def other_worlds() -> tuple[Cell, ...]:
    """The first core cells in every other world that reproduces them."""
    return tuple(_of(world, *one) for one, world in product(CORE[:3], WORLDS[1:]))


def own_world() -> tuple[Cell, ...]:
    """CogVideoX as its profile has it, which does not reproduce the published results."""
    return tuple(replace(_USUAL, load=load, deadline=deadline) for load, deadline in CORE)


def variations() -> tuple[Cell, ...]:
    """Other arrivals, mixes, phases, wrong profiles and sizes of the first core cell."""
    cell = small(core()[0])
    hour = replace(cell, load=0.7, duration_s=3600.0)
    return (
        replace(hour, phases="switch"),
        replace(cell, misprofile=0.2),
        replace(cell, process="Gamma"),
        *(replace(cell, mix=mix) for mix in ("Heavy", "Light")),
        replace(hour, phases="five"),
        *(replace(cell, nodes=nodes) for nodes in (1, 8, 16)),
    )


def other_pipelines() -> tuple[Cell, ...]:
    """Flux and HunyuanVideo, which nothing calibrates."""
    return _of_others(_FIRST, PIPELINES[1:3])


def other_pipelines_elsewhere() -> tuple[Cell, ...]:
    """The same at all other loads and deadlines, in the order of CogVideoX's."""
    return _of_others(_REST, PIPELINES[1:3])


def short_requests() -> tuple[Cell, ...]:
    """Stable Diffusion 3, whose requests take seconds where others take minutes, everywhere."""
    return _of_others((*_FIRST, *_REST), PIPELINES[3:])


_FIRST = (CORE[0], CORE[2])
_REST = tuple(one for one in (*CORE, *EDGE) if one not in _FIRST)


def _of_others(where: Iterable[tuple[float, str]], pipelines: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(
        small(replace(_USUAL, pipeline=pipeline, load=load, deadline=deadline))
        for (load, deadline), pipeline in product(where, pipelines)
    )


def family_cells() -> tuple[Cell, ...]:
    """Those on which members of families are compared: tuning cells that are neither idle nor full.

    By turns in the profile's own world and in the one in which most is compared, for which ours was
    developed: an opponent that was chosen elsewhere alone would be weaker there than it could be.
    """
    tuned = [
        [cell for cell in map(small, world) if not cell.is_held_out]
        for world in (own_world(), core())
    ]
    return tuple(cell for pair in zip(*tuned, strict=False) for cell in pair)[:_OF_FAMILIES]
