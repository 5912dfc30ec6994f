"""Replays a workload on a simulated cluster, by the planners that run in production.

`run` simulates one scenario and writes figures as JSON and a page of plots. `compare` runs the same
scenario, or several, under several policies and seeds, and prints them side by side.

Exit status: 0 done, 1 a file or value is wrong (the message names file, line and field).
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tridentserve.errors import InvalidFieldError
from tridentserve.sim import plots
from tridentserve.sim.compare import rows, table
from tridentserve.sim.encoding import as_json
from tridentserve.sim.fitting import fits
from tridentserve.sim.reading import overridden, read_experiment, read_scenario
from tridentserve.sim.results import Result
from tridentserve.sim.run import simulate
from tridentserve.sim.scenario import Scenario


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the two verbs."""
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_one = verbs.add_parser("run", help="simulate one scenario")
    run_one.add_argument("scenario", type=Path, help="a YAML file")
    compare = verbs.add_parser("compare", help="simulate policies side by side")
    compare.add_argument("scenarios", type=Path, nargs="+", help="YAML files")
    compare.add_argument(
        "--seeds", type=int, nargs="+", default=[], metavar="SEED", help="repeat with each"
    )
    for verb in (run_one, compare):
        verb.add_argument(
            "--dispatch",
            nargs="+",
            default=[],
            metavar="NAME",
            help="dispatch planners instead of the scenario's" if verb is compare else "another",
        )
        verb.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
        verb.add_argument(
            "--plot", type=Path, metavar="FILE", help=f"page of plots: {', '.join(plots.FORMATS)}"
        )
        verb.add_argument("--quiet", action="store_true", help="no progress bar")
    run_one.add_argument("--seed", type=int, help="instead of the scenario's")


def run(args: argparse.Namespace) -> int:
    """Simulate.

    Raises:
        InvalidFieldError: a scenario, what it names, or an output is wrong.
    """
    _check_outputs(args)
    if args.verb == "run":
        changes: dict[str, object] = {} if args.seed is None else {"seed": args.seed}
        if args.dispatch:
            if len(args.dispatch) > 1:
                raise InvalidFieldError("--dispatch", "one name; `compare` takes several")
            changes["dispatch"] = args.dispatch[0]
        scenario = overridden(read_scenario(args.scenario), **changes)
        results = [_simulate(scenario, args.scenario.parent, quiet=args.quiet)]
    else:
        results = [
            _simulate(variant, path.parent, quiet=args.quiet)
            for path, scenario in _distinct(args)
            for variant in _variants(scenario, args.dispatch, args.seeds)
        ]
    # Before the files: where one cannot be written, what was measured has been said.
    print(table(rows(results)))
    _warn(results)
    _write(args, results)
    return 0


def _distinct(args: argparse.Namespace) -> tuple[tuple[Path, Scenario], ...]:
    """All scenarios, once nothing is among them that one row would count as something else."""
    for option in ("dispatch", "seeds"):
        given = getattr(args, option)
        for one in given:
            if given.count(one) > 1:
                raise InvalidFieldError(f"--{option}", f"{one} is there more than once")
    found = tuple((path, read_scenario(path)) for path in args.scenarios)
    files: dict[str, Path] = {}
    for path, scenario in found:
        if scenario.name in files:
            raise InvalidFieldError(
                f"{path}: name", f"{scenario.name!r} is that of {files[scenario.name]} as well"
            )
        files[scenario.name] = path
    return found


def _variants(
    scenario: Scenario, dispatch: Sequence[str], seeds: Sequence[int]
) -> tuple[Scenario, ...]:
    return tuple(
        overridden(scenario, dispatch=name, seed=seed)
        for name in dispatch or [scenario.dispatch]
        for seed in seeds or [scenario.seed]
    )


def _simulate(scenario: Scenario, folder: Path, *, quiet: bool) -> Result:
    experiment = read_experiment(scenario, folder)
    title = f"{scenario.name} {scenario.dispatch} {scenario.seed}"
    with _Bar(title, experiment.scenario.ends_s, quiet=quiet) as bar:
        return simulate(experiment, stopwatch=time.process_time, progress=bar.show)


class _Bar:
    """Simulated seconds on standard error, where that is a terminal."""

    def __init__(self, title: str, total_s: float, *, quiet: bool) -> None:
        self._title, self._total_s, self._quiet = title, total_s, quiet

    def __enter__(self) -> Self:
        from tqdm import tqdm

        self._bar: tqdm[Any] = tqdm(
            desc=self._title,
            total=round(self._total_s),
            unit="s",
            file=sys.stderr,
            leave=False,
            disable=True if self._quiet else None,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def show(self, now: float) -> None:
        """Move to a simulated moment."""
        self._bar.update(round(now) - self._bar.n)


def _check_outputs(args: argparse.Namespace) -> None:
    if args.plot is not None:
        plots.check(args.plot)
    if args.json is not None and not args.json.parent.is_dir():
        raise InvalidFieldError("--json", f"there is no folder {args.json.parent}")
    if args.json is not None and args.json.is_dir():
        raise InvalidFieldError("--json", f"{args.json} is a folder; name a file in it")


def _write(args: argparse.Namespace, results: Sequence[Result]) -> None:
    path = args.json
    try:
        if args.json is not None:
            content: object = as_json(results[0])
            if args.verb == "compare":
                content = {
                    "comparison": [asdict(row) for row in rows(results)],
                    "machine": {"decision_fits": fits(results)},
                    "runs": [as_json(one) for one in results],
                }
            args.json.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
        if args.plot is not None:
            path = args.plot
            plots.page(results, args.plot)
    except OSError as error:
        raise InvalidFieldError(str(path), f"cannot be written: {error}") from None


def _warn(results: Sequence[Result]) -> None:
    """Defects of planners must not pass unseen."""
    for result in results:
        made = result.decisions
        if made.impossible_count:
            print(
                f"{result.dispatch}: {made.impossible_count} impossible actions, the first:"
                f" {made.impossible[0]}",
                file=sys.stderr,
            )
