"""`python -m train_shapes`: train the model, judge it, and show what it draws."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from train_shapes import arguments, curve, evaluate, sheet
from train_shapes.settings import SHAPES
from train_shapes.training import train
from tridentserve.families import libraries

_MODEL = Path("examples/models/shapes")
_SIDES = (64, 96, 128)


def main(argv: Sequence[str] | None = None) -> int:
    """Do one of the commands; exits with 2 where an argument is wrong."""
    options = _parser().parse_args(argv)
    libraries.tame()
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train_shapes", description=__doc__)
    commands = parser.add_subparsers(required=True)
    training = commands.add_parser("train", help="train from scratch, or go on where it stopped")
    training.add_argument("--folder", type=Path, default=Path("shapes-training"))
    training.add_argument(
        "--workers", type=arguments.count, default=2, help="processes of one thread each"
    )
    training.set_defaults(run=_train)
    judging = commands.add_parser("evaluate", help="judge pictures of captions never trained on")
    judging.add_argument("--captions", type=arguments.count, default=200)
    judging.add_argument("--sides", type=arguments.side, nargs="+", default=_SIDES)
    judging.add_argument(
        "--report", type=arguments.output, help="where to write the figures as JSON"
    )
    judging.set_defaults(run=_evaluate)
    showing = commands.add_parser("sheet", help="draw a sheet of samples")
    showing.add_argument("picture", type=arguments.picture)
    showing.set_defaults(run=_sheet)
    losses = commands.add_parser("curve", help="draw the losses of a training folder")
    losses.add_argument("folder", type=arguments.training_folder)
    losses.add_argument("picture", type=arguments.picture)
    losses.set_defaults(run=lambda options: curve.draw(options.folder, options.picture))
    training.add_argument("--model", type=Path, default=_MODEL)
    for command in (judging, showing):
        # A text, for argparse looks at no other default.
        command.add_argument("--model", type=arguments.model_folder, default=str(_MODEL))
        command.add_argument("--steps", type=arguments.count, default=SHAPES.model.steps)
        command.add_argument("--guidance", type=float, default=SHAPES.model.guidance)
    return parser


def _train(options: argparse.Namespace) -> None:
    train(SHAPES, options.folder, options.model, workers=options.workers)


def _evaluate(options: argparse.Namespace) -> None:
    pipeline = evaluate.load(options.model)
    scenes = evaluate.held_out(options.captions)
    reports = []
    for side in options.sides:
        drawing = evaluate.Drawing(side=side, steps=options.steps, guidance=options.guidance)
        reports.append(evaluate.report(pipeline, scenes, drawing))
        print(f"\n## {side} px\n\n{reports[-1]}", flush=True)
    if options.report is not None:
        options.report.write_text(json.dumps([asdict(one) for one in reports], indent=1) + "\n")


def _sheet(options: argparse.Namespace) -> None:
    sheet.draw(
        evaluate.load(options.model),
        options.picture,
        steps=options.steps,
        guidance=options.guidance,
    )


if __name__ == "__main__":
    raise SystemExit(main())
