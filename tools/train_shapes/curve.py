"""Draws the losses of a training as a picture, with nothing but Pillow."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from train_shapes.arguments import TRAININGS

_WIDTH, _HEIGHT, _MARGIN = 760, 300, 44
_POINTS = 150


def draw(folder: Path, picture: Path) -> None:
    """One panel for each training of `folder`, losses on a logarithmic scale."""
    paper = Image.new("RGB", (_WIDTH, _HEIGHT * len(TRAININGS)), "white")
    pen = ImageDraw.Draw(paper)
    for number, name in enumerate(TRAININGS):
        losses = [
            json.loads(line)["loss"] for line in (folder / f"{name}.jsonl").read_text().splitlines()
        ]
        _panel(pen, number * _HEIGHT, name, losses)
    paper.save(picture, optimize=True)


def _panel(pen: ImageDraw.ImageDraw, top: int, name: str, losses: Sequence[float]) -> None:
    """Means of neighbouring steps as a line, with its first and last value."""
    stride = max(1, len(losses) // _POINTS)
    means = [
        sum(some) / len(some)
        for some in (losses[at : at + stride] for at in range(0, len(losses), stride))
    ]
    low, high = math.log(min(means)), math.log(max(means))
    left, right, bottom = _MARGIN, _WIDTH - _MARGIN, top + _HEIGHT - _MARGIN
    pen.rectangle((left, top + _MARGIN, right, bottom), outline="#bbbbbb")

    def place(index: int) -> tuple[float, float]:
        share = (math.log(means[index]) - low) / max(high - low, 1e-9)
        x = left + (right - left) * index / max(1, len(means) - 1)
        return x, bottom - (_HEIGHT - 2 * _MARGIN) * share

    pen.line([place(index) for index in range(len(means))], fill="#1f5fbf", width=2)
    pen.text((left, top + _MARGIN - 18), f"{name}: loss by step, logarithmic", fill="black")
    pen.text((left, bottom + 6), "0", fill="black")
    pen.text((right - 36, bottom + 6), str(len(losses)), fill="black")
    pen.text((4, top + _MARGIN), f"{max(means):.3g}", fill="black")
    pen.text((4, bottom - 12), f"{min(means):.3g}", fill="black")
