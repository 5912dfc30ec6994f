"""Says which placement a pipeline would get on so many GPUs for a recorded day, and what it gives.

The placement comes from the planner that the pipeline names (or `--placement`), for the mean load
of the recording; attainment, latency and GPU-hours come from replaying the recording on it in the
simulator. `--sweep gpus=8..64` repeats that over numbers of GPUs.

What stages take comes from a profile: the pipeline's `spec.profile.name`, or `--profile`, or the
one that ships for the model that it names. The built-in ones are of one kind of GPU, and hold
assumptions; the output says so.

Exit status: 0 done, 1 a file or value is wrong (the message names file, line and field).
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files, v1alpha1
from tridentserve.planner.cost import CostModel
from tridentserve.planner.registry import dispatch_planner, placement_planner
from tridentserve.sim import plots
from tridentserve.sim.files import YamlFile, read_yaml
from tridentserve.sim.plan import words
from tridentserve.sim.plan.forecast import Question, forecast, sweep
from tridentserve.sim.plan.profiles import chosen
from tridentserve.sim.reading import read_trace
from tridentserve.sim.workload import Ask

_MOST_GPUS = 4096


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--file", type=Path, required=True, help="a DiffusionPipeline")
    parser.add_argument(
        "--trace", type=Path, required=True, help="JSONL, one request a line, or a public trace"
    )
    parser.add_argument("--steps", type=int, help="of all requests, instead of the trace's own")
    parser.add_argument(
        "--profile",
        help=f"a file, or one of {', '.join(profile_files.BUILTIN_NAMES)}; where left out, the"
        " pipeline's spec.profile.name, else the one that its spec.model.uri or metadata.name"
        " stands for",
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
    _check(args)
    pipeline = _Pipeline.read(args.file)
    profile, why = chosen(args.profile, pipeline.resource)
    question = Question(
        spec=pipeline.spec,
        profile=profile,
        asks=_asks(args.trace, args.steps),
        gpus=args.gpus,
        gpus_per_node=args.gpus_per_node,
        placement=_name("--placement", args.placement or pipeline.spec.placement),
        dispatch=_name("--dispatch", args.dispatch or pipeline.spec.dispatch),
        seed=args.seed,
    )
    print(f"profile {profile.name}, {why}: {profile.source}\n", flush=True)
    try:
        if args.sweep is None:
            print(words.as_text(question, forecast(question)))
        else:
            _sweep(question, _range(args.sweep, args.gpus_per_node), args.plot)
    except InvalidFieldError as error:
        raise pipeline.located(error) from None
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is read."""
    if args.plot is not None:
        if args.sweep is None:
            raise InvalidFieldError("--plot", "draws the curve of --sweep, which is missing")
        plots.check(args.plot)
    for name in ("gpus", "gpus_per_node"):
        if not 1 <= getattr(args, name) <= _MOST_GPUS:
            raise InvalidFieldError(f"--{name.replace('_', '-')}", f"1 to {_MOST_GPUS}")
    if args.steps is not None and args.steps < 1:
        raise InvalidFieldError("--steps", "must be at least 1")


def _sweep(question: Question, gpus: Sequence[int], plot: Path | None) -> None:
    """Print a row as soon as it is known, then draw the curve."""
    print(words.HEAD)
    found = []
    for one in sweep(question, gpus):
        print(words.as_row(one), flush=True)
        found.append(one)
    for note in words.notes(question, found[-1]):
        print(f"\n{note}")
    if plot is not None:
        try:
            plots.curve(found, plot)
        except OSError as error:
            raise InvalidFieldError(str(plot), f"cannot be written: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pipeline:
    """A pipeline with the file that it comes from."""

    file: YamlFile
    resource: v1alpha1.DiffusionPipeline
    spec: PipelineSpec

    @classmethod
    def read(cls, path: Path) -> "_Pipeline":
        file = read_yaml(path)
        try:
            parsed = v1alpha1.parse(file.content)
        except InvalidFieldError as error:
            raise _located(file, error) from None
        return cls(file=file, resource=parsed, spec=parsed.spec.to_domain(parsed.name))

    def located(self, error: InvalidFieldError) -> InvalidFieldError:
        """The error with file and line, where it is about the pipeline."""
        return _located(self.file, error) if error.field.startswith("spec") else error


def _located(file: YamlFile, error: InvalidFieldError) -> InvalidFieldError:
    parts = [
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", error.field)
    ]
    return file.blame(parts, error.problem, missing=True)


def _asks(trace: Path, steps: int | None) -> tuple[Ask, ...]:
    asks = read_trace(trace)
    return asks if steps is None else tuple(replace(ask, steps=steps) for ask in asks)


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
        raise InvalidFieldError("--sweep", f"must begin with a multiple of {step}, --gpus-per-node")
    return range(low, high + 1, step)
