"""Makes what is missing of the comparison, and writes the report of what there is.

    PYTHONPATH=benchmarks nice python -m paper --jobs 2 --budget-minutes 600

Everything that is declared takes days of processor time. Stop it whenever you like; what was made
is kept, and the next call goes on. `--only` takes patterns of `section/cell/contender`:

    --only 'validity/*'  --only 'factorial/cogvideox-0.85-2.5x/*'  --seeds 3

The report always covers all that was made by the present source, whatever this call made.
"""

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from paper import plots
from paper.declared_cells import base_cells, other_worlds
from paper.grid import Run, comparison_runs
from paper.policies import OURS, WITH_STEPS, opponent, static_degrees
from paper.report import Facts, collected, document
from paper.runner import Effort, Results, make, source_hash, unique
from paper.validity import (
    dispatch_runs,
    passing_worlds,
    prediction_runs,
    static_runs,
    survivors,
)

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "PYTHONPATH=benchmarks python -m paper"
_BEST_STATIC = 1
"""SP2, the strongest static degree of CogVideoX, stands for them in the pictures."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What to make, and where it goes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--budget-minutes", type=float, default=float("inf"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seeds", type=int, default=10**6, help="seeds of each run at most")
    parser.add_argument("--only", action="append", help="section/cell/contender, with * and ?")
    parser.add_argument("--results", type=Path, default=cache / "tridentserve" / "paper")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Make runs, then the report."""
    args = arguments(argv)
    source = source_hash()
    results = Results(args.results / "results.jsonl", source)
    effort = Effort(jobs=args.jobs, until_s=time.monotonic() + args.budget_minutes * 60)
    static, comparison = list(static_runs()), list(comparison_runs())
    count = make(wanted(static, args.only, args.seeds), results, effort)
    dispatch = list(dispatch_runs(survivors(collected(static, results.figures))))
    count += make(wanted(dispatch, args.only, args.seeds), results, effort)
    worlds = passing_worlds(collected([*static, *dispatch], results.figures))
    slow_downs = tuple(dict.fromkeys(slow_down for _, slow_down in worlds))
    fit = [*static, *dispatch, *prediction_runs(slow_downs)]
    declared = [*fit, *comparison]
    count += make(wanted(declared, args.only, args.seeds), results, effort)
    shown = [opponent(), static_degrees()[_BEST_STATIC], OURS, WITH_STEPS]
    pictures = plots.by_load(
        collected([run for run in comparison if run.section != "family"], results.figures),
        (*base_cells(), *other_worlds()),
        [one.name for one in shown],
        args.docs / "images",
    )
    facts = Facts(
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        source=source,
        command=COMMAND,
        took_s=sum(results.took_s(run) or 0.0 for run in unique(declared)),
    )
    paths = {caption: f"images/{path.name}" for caption, path in pictures.items()}
    report = args.docs / "science.md"
    report.write_text(document(fit, comparison, results.figures, facts, paths), encoding="utf-8")
    print(f"{count} runs made; {report} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
