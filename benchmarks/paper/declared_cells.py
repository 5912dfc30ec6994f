"""Which cells there are: pipeline x load x deadline, other worlds, and variations. Pure."""

from dataclasses import replace
from itertools import product

from paper.cells import Cell

PIPELINES = ("cogvideox", "flux", "hunyuanvideo", "sd3")
LOADS = (0.5, 0.7, 0.85, 0.95, 1.1)
DEADLINES = ("1.5x", "2.5x", "4.4x+2s")
WORLDS: tuple[tuple[float, float], ...] = ((10.5, 1.2), (15.5, 1.2), (2.0, 1.3))
"""Decode seconds and slow-downs for CogVideoX beside the profile's own: those that pass the fit."""


def base_cells() -> tuple[Cell, ...]:
    """Pipeline x load x deadline."""
    return tuple(
        Cell(pipeline=pipeline, load=load, deadline=deadline)
        for pipeline, load, deadline in product(PIPELINES, LOADS, DEADLINES)
    )


def other_worlds() -> tuple[Cell, ...]:
    """CogVideoX, neither idle nor full, wherever the simulator reproduces the published results."""
    return tuple(
        Cell(
            pipeline=PIPELINES[0],
            load=load,
            deadline=deadline,
            decode_s=decode_s,
            slow_down=slow_down,
        )
        for (decode_s, slow_down), load, deadline in product(WORLDS, LOADS[1:4], DEADLINES[1:])
    )


def variations() -> tuple[Cell, ...]:
    """Other arrivals, mixes, sizes, phases and wrong profiles."""
    found = []
    for pipeline, deadline in product(("cogvideox", "flux"), DEADLINES[1:]):
        cell = Cell(pipeline=pipeline, load=0.85, deadline=deadline)
        found += [
            replace(cell, process="Gamma"),
            *(replace(cell, mix=mix) for mix in ("Light", "Heavy")),
            *(replace(cell, nodes=nodes) for nodes in (1, 4, 32)),
            *(replace(cell, load=0.7, phases=phases) for phases in ("five", "switch")),
            replace(cell, misprofile=0.2),
        ]
    return tuple(found)


def cells() -> tuple[Cell, ...]:
    """All of them."""
    return (*base_cells(), *other_worlds(), *variations())


def family_cells() -> tuple[Cell, ...]:
    """Those on which members of families are compared: tuning cells that are neither idle nor full.

    The profile's own world alone, so that other worlds are a test as well.
    """
    return tuple(cell for cell in base_cells() if not cell.is_held_out and 0.7 <= cell.load <= 0.95)
