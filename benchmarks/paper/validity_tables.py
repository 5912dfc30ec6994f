"""The validity fit in words and tables. Pure."""

from itertools import product

from paper.declared_cells import WORLDS
from paper.policies import static_degrees
from paper.published import (
    SD3_STATIC,
    SD3_THEIRS,
    STATIC,
    THEIRS,
    Outcome,
    Published,
)
from paper.records import Records
from paper.search import World, contradictions, undecided
from paper.tables import NOTHING, table
from paper.validity import (
    MEMBERS,
    SD3_RATES,
    SEED,
    SLOW_DOWNS,
    cell_of,
    dispatched,
    near,
    passing_worlds,
    points,
    sd3_cell,
    settings,
    worlds,
)

_HEAD = ("B1", "decode, s", "slow-down", "dispatch", "B1: SLO, mean, P95", "theirs: SLO, mean, P95")


def fit_answer(records: Records) -> str:
    """The fit in a sentence."""
    passing = [one for one in settings(records) if one.passes]
    if not passing:
        return (
            "No setting reproduces the published results so far. **No claim about the paper's"
            " system follows from here.**"
        )
    found = passing_worlds(records)
    listed = ", ".join(f"decode {c:g} s and slow-down {f:g}" for c, f in found)
    degrees = sorted({one.degree for one in passing})
    missing = [one for one in found if one not in WORLDS]
    made = dispatched(records, "sound")
    left = len(undecided(worlds(), made, THEIRS))
    text = (
        f"The simulator reproduces the published CogVideoX results in {len(found)} worlds"
        f" ({listed}; fitted, for neither figure is public), where the baseline B1 gives every"
        f" request {' or '.join(map(str, degrees))} devices. Of the {len(worlds())} worlds in which"
        " the baseline may come out as published, dispatch in its sound reading was simulated in"
        f" {len(made)}, and {left} are open. What is said below of a cell holds in the world that"
        " its name ends with: c, seconds of decode, and f, the slow-down."
    )
    if missing:
        text += f" {len(missing)} of these worlds are not among those of the comparison yet."
    unfit = [f"c{c:g} f{f:g}" for c, f in WORLDS if (c, f) not in found]
    if unfit:
        text += f" **Cells in {' and '.join(unfit)} say nothing of the paper's system** so far."
    return text


def fit_words(records: Records) -> str:
    """How many settings there are, how many are excluded and why, and how many pass."""
    tried = settings(records)
    passing = sum(one.passes for one in tried)
    lines = [
        "Two results of the authors' README for CogVideoX are fitted, each with the share of"
        " requests on time (SLO), mean and P95: the baseline B1, which gives every request the same"
        " number of devices (0.15, 320 s, 550 s), and theirs (0.86, 78 s, 230 s). Free are that"
        " number (SP4 is four), the decode seconds of the largest class, one slow-down for all, and"
        " the reading of the authors' dispatch: with decode in its estimate and late finishes worth"
        " less (sound), or as their code has it (published). The trace is regular, with as many of"
        f" each class, generated anew under one seed. Of {len(points())} static degrees in worlds,"
        f" {len(near())} come out as published or nearly ({_replayed(records)}); they lie in"
        f" {len(worlds())} worlds. Only there was dispatch simulated:"
    ]
    for member in MEMBERS:
        made = dispatched(records, member)
        left = len(undecided(worlds(), made, THEIRS))
        fits = sum(THEIRS.reproduced_by(one) for one in made.values())
        lines.append(
            f"- *{member}*: {len(made)} worlds run, {len(worlds()) - len(made) - left} excluded"
            " since a faster world is far too slow or a slower one far too fast,"
            f" {left} open; {fits} as published; {contradictions(made)} pairs of runs contradict"
            " the order that exclusion rests on."
        )
    lines.append(
        f"\n**{passing} settings pass** (attainment within 0.05, mean and P95 within 20 %, both"
        " systems simulated)."
    )
    return "\n".join(lines)


def _replayed(records: Records) -> str:
    """How far the recursion that says so is from the simulator."""
    departures = []
    for one in near():
        name = cell_of(one.decode_s, one.slow_down).name
        found = records.of(name, f"B1/{one.degree}").get(SEED)
        if found is not None:
            departures.append(abs(one.replayed.mean_s / found.mean_s - 1))
    if not departures:
        return "by a recursion over its queue"
    return (
        f"by a recursion over its queue, whose mean is within {max(departures):.1%} of the"
        f" simulator's in {len(departures)} runs"
    )


def fit_table(records: Records) -> str:
    """All settings that pass."""
    return table(
        _HEAD,
        (
            (
                f"SP{one.degree}",
                f"{one.decode_s:g}",
                f"{one.slow_down:g}",
                one.member,
                _figures(one.static, STATIC),
                _figures(one.theirs, THEIRS),
            )
            for one in settings(records)
            if one.passes
        ),
    )


def worlds_table(records: Records) -> str:
    """Every world in which dispatch was simulated, by slow-down; bold is as published."""
    made = {member: dispatched(records, member) for member in MEMBERS}
    rows = []
    for world in sorted(worlds(), key=lambda one: (one.slow_down, one.decode_s)):
        found = [of_member.get(world) for of_member in made.values()]
        if not any(found):
            continue
        degrees = sorted(
            one.degree
            for one in near()
            if (one.decode_s, one.slow_down) == (world.decode_s, world.slow_down)
        )
        texts = [NOTHING if one is None else _figures(one, THEIRS) for one in found]
        shown = ", ".join(_baseline(records, world, one) for one in degrees)
        rows.append([f"{world.decode_s:g}", f"{world.slow_down:g}", shown, *texts])
    head = ["decode, s", "slow-down", "B1 as published at", *(f"theirs, {one}" for one in MEMBERS)]
    text = (
        "Dispatch, wherever it was simulated; bold is as published, and nothing passes without the"
        " baseline of that degree having been simulated as well:"
    )
    return f"{text}\n\n{table(head, rows)}"


def _baseline(records: Records, world: World, degree: int) -> str:
    """What the baseline came to; the recursion alone says so where it was not simulated."""
    found = records.of(cell_of(world.decode_s, world.slow_down).name, f"B1/{degree}").get(SEED)
    return f"SP{degree}, " + ("by recursion" if found is None else _figures(found, STATIC))


def prediction_answer(records: Records) -> str:
    """The prediction in a sentence; empty where nothing of it was run."""
    targets = {one.name: SD3_STATIC for one in static_degrees()}
    targets |= {one.name: SD3_THEIRS for one in MEMBERS.values()}
    cells = [sd3_cell(*one).name for one in product(SD3_RATES, SLOW_DOWNS)]
    made = [
        {
            target
            for name, target in targets.items()
            if (found := records.of(cell, name).get(SEED)) and target.reproduced_by(found)
        }
        for cell in cells
        if any(records.of(cell, name) for name in targets)
    ]
    if not made:
        return ""
    right = sum(len(one) == 2 for one in made)
    text = (
        "Nothing else fitted, Stable Diffusion 3 comes out as published, both the baseline and"
        f" theirs, at {right} of {len(made)} rates and slow-downs"
    )
    why = ": its rate or its profile is another one, or the fit does not carry over"
    return f"{text}{'' if right else why}."


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
        "Published: B1 0.24, 36 s, 99 s; theirs 0.95, 10 s, 28 s. The rate is not public. On 32"
        " devices at a quarter of the rate of 128. Bold is what lies within the same margins as"
        " above.\n\n"
    )
    return text + table(["requests/s", "slow-down", *contenders], rows)


def _figures(found: Outcome, target: Published) -> str:
    text = f"{found.attainment:.3f}, {found.mean_s:.0f}, {found.p95_s:.0f}"
    return f"**{text}**" if target.reproduced_by(found) else text
