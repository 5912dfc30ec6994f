"""All runs of the comparison, as questions in the order in which they are answered. Pure.

A question is a section: cells, contenders, seeds. Cells come one after the other, each with all its
seeds, so that what was cut short has few cells that say something rather than many that say
nothing. The sections before this list are the validity fit (`validity`) and the choice of the
opponent (`halving`); the report says how much of each exists.
"""

from dataclasses import dataclass
from itertools import product

from paper.cells import Cell
from paper.contenders import Contender
from paper.declared_cells import (
    core,
    edge,
    family_cells,
    other_pipelines,
    other_pipelines_elsewhere,
    other_worlds,
    own_world,
    short_requests,
    small,
    variations,
)
from paper.policies import (
    BOUND,
    OURS,
    ablations,
    as_measured,
    baselines,
    best_fits,
    charged_as_measured,
    factorial,
    opponent,
    opponents,
    static_degrees,
    strongest_others,
)

SEEDS = tuple(range(1, 21))
TUNING_SEEDS = tuple(range(101, 106))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One simulation."""

    section: str
    cell: Cell
    contender: Contender
    seed: int

    @property
    def label(self) -> str:
        """What `--only` looks at."""
        return f"{self.section}/{self.cell.name}/{self.contender.name}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A question, and what answers it."""

    name: str
    question: str
    cells: tuple[Cell, ...]
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...] = SEEDS

    @property
    def runs(self) -> tuple[Run, ...]:
        """Cell by cell, and within a cell seed by seed."""
        return tuple(
            Run(section=self.name, cell=cell, contender=contender, seed=seed)
            for cell, seed, contender in product(self.cells, self.seeds, self.contenders)
        )


def sections() -> tuple[Section, ...]:
    """Those of the comparison, the most telling first."""
    both = (opponent(), OURS, BOUND)
    crossed = tuple(one for one in factorial(opponent()) if one not in both)
    usual, large = tuple(map(small, core())), core()
    # Below saturation first: queues are short there, so that twenty seeds take the least time.
    first, second, *rest = usual
    flux = next(c for c in other_pipelines() if c.pipeline == "flux" and not c.is_held_out)
    return (
        Section(
            name="headline",
            question="Is ours ahead of theirs, on 32 devices?",
            cells=(second, first, *rest),
            contenders=both,
        ),
        Section(
            name="worlds",
            question="Is it in every world that reproduces the published results?",
            cells=tuple(map(small, other_worlds())),
            contenders=both,
        ),
        Section(
            name="rivals",
            question="Is it ahead of the best static degree, of EDF best fit, of the best others?",
            cells=(*usual[:4], small(edge()[0])),
            contenders=(OURS, *best_fits(), *static_degrees(), *strongest_others()),
        ),
        Section(
            name="factorial",
            question="Is it placement or dispatch? What do decisions at steps add?",
            # All of CogVideoX fits a device: only in the last two has placement much to decide.
            cells=(*usual[:3], *other_pipelines()[:2]),
            contenders=both + crossed,
        ),
        Section(
            name="charges",
            question="What if decisions are charged what they took on one machine?",
            cells=usual[:4],
            contenders=charged_as_measured(opponent()),
        ),
        Section(
            name="ablations",
            question="What does each mechanism bring? What does waiting for a degree?",
            # Late requests mingle on fleets that are not crowded, which those of CogVideoX are.
            cells=(*usual[:2], flux),
            contenders=(OURS, *ablations()),
        ),
        Section(
            name="variations",
            question="Does it hold under switches of the load, wrong profiles, other mixes, sizes?",
            cells=variations(),
            contenders=both,
        ),
        Section(
            name="published size",
            question="Is ours ahead of theirs on 128 devices over two hours?",
            cells=large,
            contenders=both,
        ),
        Section(
            name="loads",
            question="How much load does each take? What of tight deadlines?",
            cells=tuple(map(small, edge())),
            contenders=both,
        ),
        Section(
            name="own world",
            question="What if the profile is right as it stands, without a slow-down?",
            cells=tuple(map(small, own_world())),
            contenders=both,
        ),
        Section(
            name="pipelines",
            question="And for FLUX and HunyuanVideo?",
            cells=other_pipelines(),
            contenders=both,
        ),
        Section(
            name="short requests",
            question="And for Stable Diffusion 3, where the time of decisions counts?",
            cells=short_requests(),
            contenders=(as_measured(opponent()), as_measured(OURS), BOUND),
        ),
        Section(
            name="other loads",
            question="And for FLUX and HunyuanVideo at other loads and deadlines?",
            cells=other_pipelines_elsewhere(),
            contenders=both,
        ),
        Section(
            name="baselines",
            question="How do all others do, at several settings?",
            cells=usual[:1],
            contenders=baselines(),
        ),
    )


def family_runs() -> tuple[Run, ...]:
    """Every member of the opponent's family in every tuning cell; `halving` takes a part."""
    return tuple(
        Run(section="family", cell=cell, contender=member, seed=seed)
        for cell, seed, member in product(family_cells(), TUNING_SEEDS, opponents())
    )


def comparison_cells() -> tuple[Cell, ...]:
    """All cells in which policies are compared, each once, in the order of the sections."""
    return tuple(dict.fromkeys(cell for one in sections() for cell in one.cells))
