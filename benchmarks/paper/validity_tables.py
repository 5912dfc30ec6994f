"""The validity fit in words and tables. Pure."""

from paper.declared_cells import WORLDS
from paper.outcomes import Figures
from paper.policies import static_degrees
from paper.records import Records
from paper.tables import NOTHING, table
from paper.validity import (
    MEMBERS,
    SD3_RATES,
    SD3_STATIC,
    SD3_THEIRS,
    SEED,
    SLOW_DOWNS,
    STATIC,
    THEIRS,
    Published,
    nearest,
    passing_worlds,
    sd3_cell,
    settings,
    static_runs,
)

_SHOWN = 6
_HEAD = ("B1", "decode, s", "slow-down", "dispatch", "B1: SLO, mean, P95", "theirs: SLO, mean, P95")


def fit_words(records: Records) -> str:
    """How many settings were tried, how many pass, and which of them the comparison uses."""
    tried = settings(records)
    declared = [(run.cell.name, run.contender.name) for run in static_runs()]
    made = sum(one in records.found for one in declared)
    passing = [one for one in tried if one.passes]
    worlds = passing_worlds(records)
    missing = [one for one in worlds if one not in WORLDS]
    text = (
        "The README's CogVideoX cells (B1: 0.15, 320 s, 550 s; theirs: 0.86, 78 s, 230 s), by a"
        " static degree, the decode seconds of the largest class, one slow-down for all, and two"
        " readings of the authors' dispatch. The trace is regular, with as many of each class,"
        f" generated anew. {made} of {len(declared)} runs of B1 were made; where a degree comes out"
        f" as published, dispatch was run, which gives {len(tried)} settings;"
        f" **{len(passing)} pass** (attainment within 0.05, mean and P95 within 20 %)."
    )
    if not passing:
        text += " The nearest are listed. **No claim about the paper's system follows from here.**"
    if missing:
        listed = ", ".join(f"c = {c:g}, f = {f:g}" for c, f in missing)
        text += (
            f" Of those that pass, these are not yet among the worlds of the comparison: {listed}."
        )
    return text


def fit_table(records: Records) -> str:
    """All settings that pass, or the nearest where none does."""
    tried = settings(records)
    shown = [one for one in tried if one.passes]
    left = list(tried)
    while not any(one.passes for one in tried) and left and len(shown) < _SHOWN:
        best = nearest(left)
        assert best is not None
        shown.append(best)
        left.remove(best)
    rows = [
        (
            f"SP{one.degree}",
            f"{one.decode_s:g}",
            f"{one.slow_down:g}",
            one.member,
            _figures(one.static, STATIC),
            _figures(one.theirs, THEIRS),
        )
        for one in shown
    ]
    return table(_HEAD, rows)


def prediction_table(records: Records) -> str:
    """Every rate and slow-down, nothing fitted: published figures beside what comes out."""
    contenders = [*(one.name for one in static_degrees()), *(one.name for one in MEMBERS.values())]
    rows = []
    for rate in SD3_RATES:
        for slow_down in SLOW_DOWNS:
            cell = sd3_cell(rate, slow_down).name
            row = []
            for name in contenders:
                found = records.of(cell, name).get(SEED)
                target = SD3_STATIC if name.startswith("B1") else SD3_THEIRS
                row.append(NOTHING if found is None else _figures(found, target))
            if any(one != NOTHING for one in row):
                rows.append([f"{rate:g}", f"{slow_down:g}", *row])
    text = (
        "Published: B1 0.24, 36 s, 99 s; theirs 0.95, 10 s, 28 s. The rate is not public. Bold is"
        " what lies within the same margins as above.\n\n"
    )
    return text + table(["requests/s", "slow-down", *contenders], rows)


def _figures(found: Figures, target: Published) -> str:
    text = f"{found.attainment:.3f}, {found.mean_s:.0f}, {found.p95_s:.0f}"
    return f"**{text}**" if target.reproduced_by(found) else text
