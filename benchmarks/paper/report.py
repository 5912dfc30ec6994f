"""The document: every table, what was run of what is declared, and the limits. Pure.

Nothing that is declared is left out silently: what was not run is counted, and named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from paper import capacity, words
from paper.declared_cells import base_cells, cells, family_cells, other_worlds
from paper.grid import Run
from paper.outcomes import Figures
from paper.policies import (
    BOUND,
    CHOSEN,
    OURS,
    WITH_STEPS,
    ablations,
    baselines,
    best_fits,
    factorial,
    opponent,
    opponents,
    static_degrees,
)
from paper.records import Records, ranking
from paper.tables import against, by_cell, misses, paired, ranked, table, verdicts
from paper.targets import Names, evaluate
from paper.validity_tables import fit_table, fit_words, prediction_table

Look = Callable[[Run], Figures | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What stands beside the figures."""

    date: str
    source: str
    """Hash of what decides and simulates."""
    command: str
    took_s: float
    """Processor seconds of all runs that are reported."""


def names(*, has_steps: bool) -> Names:
    """Who is compared."""
    return Names(
        ours=(WITH_STEPS if has_steps else OURS).name,
        theirs=opponent().name,
        statics=tuple(one.name for one in static_degrees()),
        best_fits=tuple(one.name for one in best_fits()),
        has_steps=has_steps,
    )


def collected(runs: Sequence[Run], look: Look) -> Records:
    """What was made of some runs.

    Families are tuned on seeds of their own, which are kept apart from those of the comparison by
    their numbers alone: tables that compare look at seeds that both sides have.
    """
    found: dict[tuple[str, str], dict[int, Figures]] = {}
    for run in runs:
        figures = look(run)
        if figures is not None:
            found.setdefault((run.cell.name, run.contender.name), {})[run.seed] = figures
    return Records(found)


def document(
    fit: Sequence[Run],
    comparison: Sequence[Run],
    look: Look,
    facts: Facts,
    pictures: Mapping[str, str],
) -> str:
    """The whole report in Markdown.

    Args:
        fit: runs of the validity fit and of its prediction.
        comparison: all other runs.
        look: figures of a run; None where it was not made.
        facts: date, source, command.
        pictures: relative paths by caption.
    """
    tuned = collected([run for run in comparison if run.section == "family"], look)
    compared = collected([run for run in comparison if run.section != "family"], look)
    fitted = collected(fit, look)
    parts = [
        "# The planner against the paper's, simulated",
        _opening([*fit, *comparison], look, facts),
        "## Inputs, and whose they are\n\n" + words.INPUTS,
        "## Method\n\n" + words.METHOD,
        "## Validity\n\n" + fit_words(fitted),
        fit_table(fitted),
        "### Stable Diffusion 3, predicted\n\n" + prediction_table(fitted),
        "## The opponent\n\n" + _opponent(tuned),
        "## Theirs and ours\n\n" + _compared(compared, pictures),
        "## Targets\n\n" + _targets(compared),
        "## Mechanisms, one removed at a time\n\n" + _ablations(compared),
        "## Everybody else\n\n" + _others(compared),
        "## Limits\n\n" + words.LIMITS,
        "## Not run\n\n" + not_run([*fit, *comparison], look),
        "## Appendix: the family\n\n" + _family(tuned),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _opening(runs: Sequence[Run], look: Look, facts: Facts) -> str:
    made = sum(look(run) is not None for run in runs)
    state = (
        "All declared runs are in it."
        if made == len(runs)
        else f"**It is partial**: {made} of {len(runs)} declared runs are in it. What is missing is"
        " counted at its end, every statement holds for the cells named beside it only, and with"
        " one seed there is no interval."
    )
    return (
        f"Written by `{facts.command}` on {facts.date} from source `{facts.source}`;"
        f" {facts.took_s / 3600:.1f} processor hours. {state}"
    )


def _opponent(tuned: Records) -> str:
    order = ranking(tuned, [one.name for one in family_cells()], [o.name for o in opponents()])
    lines = [
        f"`{CHOSEN['theirs']}` speaks for the family of {len(opponents())} members: window of the"
        " program (w), ageing (a), efficiency filter (e), what its estimate covers, and what late"
        " is worth."
    ]
    if not order:
        lines.append("The family was **not compared** yet: the member is a guess of ours.")
    elif order[0] == CHOSEN["theirs"]:
        lines.append(f"It is the best of {len(order)} that were run on tuning cells.")
    else:
        lines.append(f"On the tuning cells run so far `{order[0]}` does better: **to be changed**.")
    return " ".join(lines)


def _compared(compared: Records, pictures: Mapping[str, str]) -> str:
    who = [BOUND.name, *(one.name for one in factorial(opponent()))]
    shown = "\n\n".join(f"![{caption}]({path})" for caption, path in pictures.items())
    text = f"Attainment (worst class), mean / P95 latency in seconds. {_defects(compared)}"
    return f"{text}\n\n{by_cell(compared, cells(), who)}\n\n{shown}"


def _defects(records: Records) -> str:
    """Planners that asked for what cannot be."""
    counts: dict[str, int] = {}
    for (_, name), found in records.found.items():
        counts[name] = counts.get(name, 0) + sum(one.impossible for one in found.values())
    guilty = ", ".join(f"`{name}` {count}" for name, count in counts.items() if count)
    if not guilty:
        return "No planner asked for an action that cannot be carried out."
    return f"Actions that could not be carried out, which are defects: {guilty}."


def _targets(compared: Records) -> str:
    parts = []
    for has_steps in (False, True):
        chosen = names(has_steps=has_steps)
        found = evaluate(compared, cells(), chosen)
        parts += [
            f"### {chosen.ours}\n\n{verdicts(found, cells())}",
            f"Less theirs, paired by seed:\n\n"
            f"{paired(compared, cells(), chosen.ours, chosen.theirs)}",
            f"Missed:\n\n{misses(found)}",
            f"Capacity at 99 % with every class at 95 % or more, to reach 1.15:\n\n"
            f"{_capacity(compared, chosen)}",
        ]
    return "\n\n".join(parts)


def _capacity(compared: Records, chosen: Names) -> str:
    rows = []
    loaded = capacity.groups((*base_cells(), *other_worlds()))
    for (pipeline, deadline, decode_s, slow_down), group in loaded.items():
        ours, theirs = (
            capacity.capacity(compared, group, name) for name in (chosen.ours, chosen.theirs)
        )
        if ours is None or theirs is None:
            continue
        world = "" if decode_s is None else f" c{decode_s:g} f{slow_down:g}"
        value, sign = capacity.ratio(ours, theirs)
        loads = [f"{one.sign}{one.load:.2f}" for one in (theirs, ours)]
        ratio = "unknown" if sign == "?" else f"{sign}{value:.2f}"
        rows.append([f"{pipeline}{world}, {deadline}", *loads, ratio])
    found = table(["cells", "theirs", "ours", "ratio"], rows)
    return f"{found}\n\n{len(rows)} of {len(loaded)} groups of cells were run at all loads."


def _ablations(compared: Records) -> str:
    who = [one.name for one in (*ablations(), WITH_STEPS)]
    return (
        f"Less or more than `{OURS.name}`, over the cells and seeds that both have run.\n\n"
        + against(compared, cells(), OURS.name, who)
    )


def _others(compared: Records) -> str:
    who = (opponent(), *static_degrees(), *best_fits(), *baselines())
    return (
        f"Less or more than `{OURS.name}`, over the cells and seeds that both have run.\n\n"
        + against(compared, cells(), OURS.name, [one.name for one in who])
    )


def _family(tuned: Records) -> str:
    where = [one.name for one in family_cells()]
    order = ranking(tuned, where, [one.name for one in (*opponents(), *best_fits())])
    return (
        f"On {len(where)} tuning cells with seeds of their own; the runs that all listed have.\n\n"
        + ranked(tuned, family_cells(), order)
    )


def not_run(runs: Sequence[Run], look: Look) -> str:
    """What is missing, by section and cell."""
    rows = []
    for section, of_section in groupby(sorted(runs, key=_by_cell), lambda one: one.section):
        grouped = list(of_section)
        missing = [run for run in grouped if look(run) is None]
        rows.append([section, f"{len(grouped)}", f"{len(missing)}", _named(grouped, missing)])
    head = ["section", "declared", "not run", "cells without any run; (missing of declared)"]
    return table(head, rows)


def _by_cell(run: Run) -> tuple[str, str]:
    return run.section, run.cell.name


def _named(declared: Sequence[Run], missing: Sequence[Run]) -> str:
    """Cells that lack runs; all of them in a word where nothing was run."""
    if len(missing) == len(declared):
        return "all of them"
    counts: dict[str, list[int]] = {}
    for run in declared:
        counts.setdefault(run.cell.name, [0, 0])[1] += 1
    for run in missing:
        counts[run.cell.name][0] += 1
    return ", ".join(
        name if lacking == whole else f"{name} ({lacking} of {whole})"
        for name, (lacking, whole) in counts.items()
        if lacking
    )
