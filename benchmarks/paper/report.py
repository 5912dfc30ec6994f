"""The document: what came out, how much of what is declared was run, every table, limits. Pure.

What a reader wants first stands first, and only what the intervals permit. Nothing that is declared
is left out silently: the table of shares counts what was not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paper import words
from paper.answers import claims, comparison, in_all_worlds, shares
from paper.beside import against
from paper.capacity_tables import capacity_answer, capacity_table
from paper.cells import Cell
from paper.declared_cells import (
    core,
    edge,
    family_cells,
    is_small,
    other_pipelines,
    other_pipelines_elsewhere,
    short_requests,
    small,
)
from paper.grid import TUNING_SEEDS, Run, Section, comparison_cells, sections
from paper.halving import ROUNDS
from paper.policies import (
    BOUND,
    CHOSEN,
    OURS,
    WITH_STEPS,
    best_fits,
    opponent,
    opponents,
    static_degrees,
)
from paper.records import Records
from paper.shown import Shown
from paper.tables import by_cell, misses, ranked, table, verdicts
from paper.targets import Names, evaluate
from paper.validity import fit_runs, passing_worlds
from paper.validity_tables import (
    fit_answer,
    fit_table,
    fit_words,
    prediction_answer,
    prediction_table,
    worlds_table,
)
from tridentserve.planner.dispatch.ilp import PUBLISHED

_BOTH = (OURS.name, opponent().name)
_LOADS = (
    *map(small, (*core(), *edge())),
    *core(),
    *other_pipelines(),
    *other_pipelines_elsewhere(),
    *short_requests(),
)
"""Cells that differ in their load, deadline and scale."""
_SCALES = ("32 devices and twenty minutes", "128 devices and two hours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What stands beside the figures."""

    date: str
    source: str
    """Hash of what decides and simulates, as it is now."""
    command: str
    pictures: Mapping[str, str]
    """Relative paths by caption."""


def document(shown: Shown, facts: Facts) -> str:
    """The whole report in Markdown."""
    parts = [
        "# The planner against the paper's, simulated",
        _opening(shown, facts),
        "## What came out\n\n" + _answers(shown),
        "## How much of it was run\n\n" + _shares(shown),
        "## Inputs, and whose they are\n\n" + words.INPUTS,
        "## Method\n\n" + words.METHOD,
        "## Validity\n\n" + fit_words(shown.fitted),
        fit_table(shown.fitted),
        worlds_table(shown.fitted),
        "### Stable Diffusion 3, predicted\n\n" + prediction_table(shown.of(shown.predicted)),
        "## The opponent\n\n" + _opponent(shown),
        "## Theirs and ours\n\n" + _compared(shown.compared, facts.pictures),
        "## Targets\n\n" + _targets(shown.compared),
        *(
            f"## {title}\n\n{meant}\n\n{_beside(shown.compared, name)}"
            for title, name, meant in words.BESIDE
        ),
        "## Limits\n\n" + words.LIMITS,
        "## Appendix: the family\n\n" + _family(shown),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _opening(shown: Shown, facts: Facts) -> str:
    text = f"Written by `{facts.command}` on {facts.date}. Measured were"
    rows = []
    for one in shown.measured:
        now = "the present one" if one.source == facts.source else "an older one"
        commit = one.commit or "not named"
        rows.append(
            [
                one.group,
                commit,
                f"`{one.source}`, {now}",
                f"{one.runs}",
                f"{one.took_s / 60:.0f}",
            ]
        )
    head = ["group", "commit", "source", "runs", "minutes"]
    older = any(one.source != facts.source for one in shown.measured)
    return "\n\n".join(
        [words.OPENING.strip(), text, table(head, rows), words.OLDER if older else ""]
    )


def _scaled(cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """The small scale and the published one, which never share a table."""
    return [one for one in cells if is_small(one)], [one for one in cells if not is_small(one)]


def _answers(shown: Shown) -> str:
    parts = [fit_answer(shown.fitted), f"The opponent is `{CHOSEN['theirs']}`: {_chosen(shown)}"]
    worlds = passing_worlds(shown.fitted)
    for name, cells in zip(_SCALES, _scaled(comparison_cells()), strict=True):
        parts += [
            f"Ours against it, {name}:\n\n{claims(shown.compared, cells, *_BOTH)}",
            in_all_worlds(shown.compared, cells, *_BOTH, worlds),
            _met(shown.compared, cells),
        ]
    parts += [
        capacity_answer(shown.compared, _LOADS, *_BOTH),
        prediction_answer(shown.of(shown.predicted)),
    ]
    missing = [name for name, (made, _, _) in _counted(shown).items() if not made]
    if missing:
        parts.append(f"**Not known, since nothing of it was run:** {', '.join(missing)}.")
    return "\n\n".join(filter(None, parts))


def _met(compared: Records, cells: Sequence[Cell]) -> str:
    """How many of the project's targets are met, in how many cells."""
    found = evaluate(compared, cells, _names(has_steps=False))
    if not found:
        return ""
    met, missed = ([one.target for one in found if one.met is is_met] for is_met in (True, False))
    listed = ", ".join(f"{name} {missed.count(name)}" for name in dict.fromkeys(missed))
    text = f"Of this project's [targets](#targets), cell by cell, {len(met)} of {len(found)}"
    return f"{text} are met; missed are {listed}." if missed else f"{text} are met."


def _chosen(shown: Shown) -> str:
    now = shown.family
    if not now.rounds:
        return "a guess of ours, for the family was **not compared** yet."
    if now.members[0] != CHOSEN["theirs"]:
        return f"but `{now.members[0]}` does better on tuning cells: **to be changed**."
    last = ROUNDS[now.rounds - 1]
    text = (
        f"the best of {len(opponents())} members on tuning cells, after {now.rounds} of"
        f" {len(ROUNDS)} rounds; cells in the last: {last.cells}, seeds of each: {last.seeds}."
    )
    provisional = " **Provisional**: luck may have chosen it." if now.rounds < len(ROUNDS) else ""
    return text + provisional


def _counted(shown: Shown) -> dict[str, tuple[int, int, float]]:
    """Runs made, declared, and processor seconds, by section."""
    every: dict[str, Sequence[Run]] = {"validity": fit_runs(), "family": shown.tuning}
    every |= {one.name: one.runs for one in sections()} | {"prediction": shown.predicted}
    result = {}
    for name, runs in every.items():
        found = [kept for run in runs if (kept := shown.look(run)) is not None]
        result[name] = (len(found), len(runs), sum(one.took_s for one in found))
    return result


def _shares(shown: Shown) -> str:
    questions = words.QUESTIONS | {one.name: one.question for one in sections()}
    return words.SHARES + "\n" + shares(_counted(shown), questions)


def _opponent(shown: Shown) -> str:
    text = f"{words.OPPONENT}\n`{CHOSEN['theirs']}` speaks for it: {_chosen(shown)}"
    if opponent().dispatch == PUBLISHED:
        text += " It is the *published* reading of the fit above."
    return text


def _compared(compared: Records, pictures: Mapping[str, str]) -> str:
    ours, theirs = _BOTH
    parts = [words.COMPARED, _defects(compared)]
    for name, cells in zip(_SCALES, _scaled(comparison_cells()), strict=True):
        parts += [
            f"### {name}",
            comparison(compared, cells, ours, theirs),
            "Beside the bound, attainment (worst class), mean / P95 in seconds:",
            by_cell(compared, cells, [BOUND.name, theirs, ours]),
        ]
    parts += [f"![{caption}]({path})" for caption, path in pictures.items()]
    return "\n\n".join(parts)


def _defects(records: Records) -> str:
    """Planners that asked for what cannot be."""
    counts: dict[str, int] = {}
    for (_, name), found in records.found.items():
        counts[name] = counts.get(name, 0) + sum(one.impossible for one in found.values())
    guilty = ", ".join(f"`{name}` {count}" for name, count in counts.items() if count)
    if not guilty:
        return "No planner asked for an action that cannot be carried out."
    return f"Actions that could not be carried out, which are defects: {guilty}."


def _names(*, has_steps: bool) -> Names:
    return Names(
        ours=(WITH_STEPS if has_steps else OURS).name,
        theirs=opponent().name,
        statics=tuple(one.name for one in static_degrees()),
        best_fits=tuple(one.name for one in best_fits()),
        has_steps=has_steps,
    )


def _targets(compared: Records) -> str:
    parts = [words.TARGETS, words.IN_THE_WAY]
    for name, cells in zip(_SCALES, _scaled(comparison_cells()), strict=True):
        for has_steps in (False, True):
            chosen = _names(has_steps=has_steps)
            found = evaluate(compared, cells, chosen)
            title = f"### {chosen.ours}, {name}"
            if not found:
                parts += [title, table([], ())]
                continue
            parts += [title, verdicts(found, cells), "Missed:", misses(found)]
    return "\n\n".join(
        [*parts, "### Capacity", words.CAPACITY, capacity_table(compared, _LOADS, *_BOTH)]
    )


def _beside(compared: Records, name: str) -> str:
    """Contenders of a section, less or more than ours in its cells."""
    section: Section = next(one for one in sections() if one.name == name)
    who = [one.name for one in (opponent(), *section.contenders) if one not in (BOUND, OURS)]
    found = against(compared, section.cells, OURS.name, list(dict.fromkeys(who)))
    return f"{words.AGAINST.format(ours=OURS.name)}\n{found}"


def _family(shown: Shown) -> str:
    now, records = shown.family, shown.of(shown.tuning)
    names = [one.name for one in opponents()]
    first = [one.name for one in family_cells()][: ROUNDS[0].cells]
    seeds = TUNING_SEEDS[: ROUNDS[0].seeds]
    met = Records(
        {
            (cell, name): {s: f for s, f in found.items() if s in seeds}
            for (cell, name), found in records.found.items()
            if cell in first
        }
    )
    everybody = sorted(names, key=lambda one: (one not in now.members, names.index(one)))
    cells = [one for one in family_cells() if one.name in now.cells]
    return "\n\n".join(
        [
            words.FAMILY,
            "First round:",
            ranked(met, family_cells()[: ROUNDS[0].cells], everybody),
            f"Who is left after {now.rounds} of {len(ROUNDS)} rounds, over what all of them met:",
            ranked(records, cells, now.members),
        ]
    )
