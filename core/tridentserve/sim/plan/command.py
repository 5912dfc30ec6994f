"""Says which placement a pipeline would get on so many GPUs for a recorded day, and what it gives.

The placement comes from the planner that the pipeline names (or `--placement`), for the mean load
of the recording; attainment, latency and GPU-hours come from replaying the recording on it in the
simulator. `--sweep gpus=8..64` repeats that over numbers of GPUs.

Exit status: 0 done, 1 a file or value is wrong (the message names file, line and field).
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files, v1alpha1
from tridentserve.planner.cost import CostModel
from tridentserve.planner.registry import dispatch_planner, placement_planner
from tridentserve.sim import plots
from tridentserve.sim.files import YamlFile, read_yaml
from tridentserve.sim.plan.forecast import Forecast, Question, forecast, sweep
from tridentserve.sim.reading import read_trace

_MOST_GPUS = 4096


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--file", type=Path, required=True, help="a DiffusionPipeline")
    parser.add_argument(
        "--trace", type=Path, required=True, help="JSONL, one request a line, or a public trace"
    )
    parser.add_argument("--steps", type=int, help="instead of a public trace's own steps")
    parser.add_argument(
        "--profile",
        required=True,
        help=f"a file, or one of {', '.join(profile_files.BUILTIN_NAMES)}",
    )
    parser.add_argument("--gpus", type=int, default=8, help="GPUs in all (8)")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="GPUs of a node (8)")
    parser.add_argument("--placement", help="another placement planner than the pipeline's")
    parser.add_argument("--dispatch", help="another dispatch planner than the pipeline's")
    parser.add_argument("--seed", type=int, default=0, help="of run-time noise")
    parser.add_argument("--sweep", metavar="gpus=LOW..HIGH", help="a node more at a time")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the sweep's curve")


def run(args: argparse.Namespace) -> int:
    """Plan, simulate and print.

    Raises:
        InvalidFieldError: a file or value is wrong.
    """
    if args.plot is not None:
        plots.check(args.plot)
    for name in ("gpus", "gpus_per_node"):
        if not 1 <= getattr(args, name) <= _MOST_GPUS:
            raise InvalidFieldError(f"--{name.replace('_', '-')}", f"1 to {_MOST_GPUS}")
    pipeline = _Pipeline.read(args.file)
    question = Question(
        spec=pipeline.spec,
        profile=_profile(args.profile),
        asks=read_trace(args.trace, args.steps),
        gpus=args.gpus,
        gpus_per_node=args.gpus_per_node,
        placement=_name("--placement", args.placement or pipeline.spec.placement),
        dispatch=_name("--dispatch", args.dispatch or pipeline.spec.dispatch),
        seed=args.seed,
    )
    try:
        if args.sweep is None:
            print(_as_text(question, forecast(question)))
        else:
            found = sweep(question, _range(args.sweep, args.gpus_per_node))
            print(_as_table(found))
            if args.plot is not None:
                plots.curve(found, args.plot)
    except InvalidFieldError as error:
        raise pipeline.located(error) from None
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pipeline:
    """A pipeline with the file that it comes from."""

    file: YamlFile
    spec: PipelineSpec

    @classmethod
    def read(cls, path: Path) -> "_Pipeline":
        file = read_yaml(path)
        try:
            parsed = v1alpha1.parse(file.content)
        except InvalidFieldError as error:
            raise _located(file, error) from None
        return cls(file=file, spec=parsed.spec.to_domain(parsed.name))

    def located(self, error: InvalidFieldError) -> InvalidFieldError:
        """The error with file and line, where it is about the pipeline."""
        return _located(self.file, error) if error.field.startswith("spec") else error


def _located(file: YamlFile, error: InvalidFieldError) -> InvalidFieldError:
    parts = [
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", error.field)
    ]
    return file.blame(parts, error.problem, missing=True)


def _profile(name: str) -> Profile:
    if name in profile_files.BUILTIN_NAMES:
        return profile_files.builtin(name)
    return profile_files.read(Path(name))


def _name(option: str, name: str) -> str:
    try:
        if option == "--placement":
            placement_planner(name)
        else:
            dispatch_planner(name, CostModel())
    except ValueError as error:
        raise InvalidFieldError(option, str(error)) from None
    return name


def _range(text: str, step: int) -> range:
    found = re.fullmatch(r"gpus=(\d{1,5})\.\.(\d{1,5})", text)
    if found is None:
        raise InvalidFieldError("--sweep", f"{text!r}; must be gpus=LOW..HIGH, as in gpus=8..64")
    low, high = int(found[1]), int(found[2])
    if not 1 <= low <= high <= _MOST_GPUS:
        raise InvalidFieldError("--sweep", f"1 to {_MOST_GPUS}, the lower number first")
    if low % step:
        raise InvalidFieldError("--sweep", f"must begin with a multiple of {step}, a node's GPUs")
    return range(low, high + 1, step)


def _as_text(question: Question, found: Forecast) -> str:
    lines = [
        f"{question.spec.name}: {question.placement} for {found.arrivals_per_s:.3g} requests/s"
        f" on {found.gpus} GPUs",
        "",
    ]
    for pool in found.plan.pools:
        nodes = ", ".join(f"{count} on {node}" for node, count in pool.nodes)
        lines.append(
            f"  {pool.workers} x {pool.shape.label}, {pool.shape.devices} GPUs each"
            + (f" ({nodes})" if nodes else "")
        )
    lines += ["", "why"]
    lines += [f"  {reason.message}" for reason in found.plan.reasons]
    lines += ["", "predicted", *(f"  {line}" for line in _predicted(found))]
    return "\n".join(lines)


def _predicted(found: Forecast) -> list[str]:
    if found.figures is None:
        return [f"nothing: {found.problem}"]
    figures, latency = found.figures, found.figures.latency
    hours = figures.device_seconds["held"] / 3600
    return [
        f"deadlines met   {figures.attainment:.1%}, of {figures.worst_class}"
        f" {figures.worst_attainment:.1%}",
        f"latency         mean {latency.mean:.1f} s, P50 {latency.p50:.1f} s,"
        f" P95 {latency.p95:.1f} s, P99 {latency.p99:.1f} s",
        f"not finished    {latency.censored} of {figures.requests}",
        f"GPU cost        {hours:.1f} GPU-hours, {figures.utilisation:.0%} of them at work",
    ]


def _as_table(found: Sequence[Forecast]) -> str:
    lines = ["GPUs  held  deadlines met  worst class   mean s    P95 s  GPU-hours"]
    for one in found:
        head = f"{one.gpus:4d}  {one.gpus_used:4.0f}"
        if one.figures is None:
            lines.append(f"{head}  {one.problem}")
            continue
        figures = one.figures
        lines.append(
            f"{head}  {figures.attainment:13.1%}  {figures.worst_attainment:11.1%}"
            f"  {figures.latency.mean:7.1f}  {figures.latency.p95:7.1f}"
            f"  {figures.device_seconds['held'] / 3600:9.1f}"
        )
    return "\n".join(lines)
