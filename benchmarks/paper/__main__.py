"""Makes what is missing of the comparison, and writes the report of what there is.

    PYTHONPATH=benchmarks nice python -m paper --budget-minutes 60

Everything that is declared takes some three processor hours at the small scale, and by its size
about as much again at the published one, in the order of the questions in `grid`; the report's
first table says how much of each there is. Stop it whenever you like: what was made is kept in the
repository, and the next call goes on. A record belongs to the source that made it, so work on a
copy that nobody changes, and say what it is called:

    git archive HEAD core benchmarks | tar -x -C $COPY
    cd $COPY
    export PYTHONPATH=core:benchmarks RECORDS=$REPOSITORY/benchmarks/paper/measured.jsonl
    python -m paper --commit $COMMIT --results $RECORDS --docs $REPOSITORY/docs --budget-minutes 60

`--only` takes patterns of `section/cell/contender`, and `--budget-minutes 0` writes the report:

    --only 'validity/*'  --only 'headline/*-0.85-2.5x-*'  --seeds 5
"""

import argparse
import datetime
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from fnmatch import fnmatchcase
from pathlib import Path

from paper import plots
from paper.declared_cells import core, edge, family_cells, small
from paper.grid import TUNING_SEEDS, Run, family_runs, sections
from paper.halving import ROUNDS, Standing, standing
from paper.policies import CHOSEN, OURS, WITH_STEPS, opponent, opponents, static_degrees
from paper.report import Facts, document
from paper.runner import Effort, Results, make, make_one_by_one, source_hash
from paper.shown import Shown, collected
from paper.validity import fit_runs, next_run, passing_worlds, prediction_runs
from tridentserve.errors import InvalidFieldError

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "PYTHONPATH=benchmarks python -m paper"
RECORDS = Path(__file__).with_name("measured.jsonl")
_BEST_STATIC = 1
"""SP2, the strongest static degree of CogVideoX, stands for them in the pictures."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What to make, and where it goes."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--budget-minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seeds", type=int, default=10**6, help="seeds of each run at most")
    parser.add_argument("--only", action="append", help="section/cell/contender, with * and ?")
    parser.add_argument("--commit", default="", help="what the source is called in the report")
    parser.add_argument("--results", type=Path, default=RECORDS, help="file of records")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the report")
    return parser.parse_args(argv)


def wanted(runs: Sequence[Run], only: Sequence[str] | None, seeds: int) -> list[Run]:
    """Those of the patterns, with the first so many seeds of their section."""
    order: dict[str, list[int]] = {}
    for run in runs:
        known = order.setdefault(run.section, [])
        if run.seed not in known:
            known.append(run.seed)
    return [
        run
        for run in runs
        if run.seed in order[run.section][:seeds]
        and (only is None or any(fnmatchcase(run.label, one) for one in only))
    ]


def _standing(results: Results) -> Standing:
    """How far the choice of the opponent has come by the present source."""
    names, cells = ([one.name for one in some] for some in (opponents(), family_cells()))
    return standing(collected(family_runs(), results.figures), names, cells, TUNING_SEEDS)


def _round(now: Standing) -> list[Run]:
    """What the round of the family asks for that is being made."""
    return [
        run
        for run in family_runs()
        if run.contender.name in now.members
        and run.cell.name in now.cells
        and run.seed in now.seeds
    ]


def make_all(args: argparse.Namespace, results: Results) -> int:
    """Fit, opponent, comparison, prediction; how many runs were made.

    Nothing is compared with an opponent that another one has beaten in all rounds.
    """
    effort = Effort(jobs=args.jobs, until_s=time.monotonic() + args.budget_minutes * 60)

    def of_fit() -> Run | None:
        run = next_run(collected(fit_runs(), results.figures))
        return run if run is not None and wanted([run], args.only, args.seeds) else None

    count = make_one_by_one(of_fit, results, effort)
    while more := make(wanted(_round(_standing(results)), args.only, args.seeds), results, effort):
        count += more
    now = _standing(results)
    if now.rounds == len(ROUNDS) and now.members[0] != CHOSEN["theirs"]:
        print(f"nothing is compared: policies.CHOSEN is to be {now.members[0]}", file=sys.stderr)
        return count
    return count + make(wanted(compared(results), args.only, args.seeds), results, effort)


def compared(results: Results) -> list[Run]:
    """All of the comparison, then the prediction by what fits according to the present source.

    After another source's fit nothing is predicted: the first run would replace it in the report.
    """
    fitted = collected(fit_runs(), results.figures)
    runs = [run for one in sections() for run in one.runs]
    return [*runs, *prediction_runs(passing_worlds(fitted))]


def main(argv: Sequence[str] | None = None) -> int:
    """Make runs, then the report; 1 where a value or the file of records is wrong."""
    try:
        return _run(arguments(argv))
    except InvalidFieldError as error:
        print(f"paper: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    source = source_hash()
    results = Results(args.results, source, args.commit)
    with results.held() if args.budget_minutes > 0 else nullcontext():
        count = make_all(args, results)
    found = Shown(look=results.reported, measured=results.measured())
    shown = [opponent(), static_degrees()[_BEST_STATIC], OURS, WITH_STEPS]
    pictures = plots.by_load(
        found.compared,
        (*map(small, (*core(), *edge())), *core()),
        [one.name for one in shown],
        args.docs / "images",
    )
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    paths = {caption: f"images/{path.name}" for caption, path in pictures.items()}
    facts = Facts(date=date, source=source, command=COMMAND, pictures=paths)
    report = args.docs / "science.md"
    report.write_text(document(found, facts), encoding="utf-8")
    print(f"{count} runs made; {report} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
