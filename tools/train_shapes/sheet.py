"""A sheet of samples: held-out captions, each drawn at every size, the captions beneath."""

from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from train_shapes import evaluate
from train_shapes.judge import judge

_CAPTIONS = 12
_COLUMNS = 3
_SIDES = (64, 96, 128)
_GAP = 8
_TEXT_HEIGHT = 44
_LETTERS_A_LINE = 50


def draw(pipeline: Any, path: Path, *, steps: int, guidance: float) -> None:
    """Draw the first held-out captions, whatever comes out, and mark what the judge refuses."""
    scenes = evaluate.held_out(_CAPTIONS)
    captions = [scene.caption for scene in scenes]
    by_side = [
        list(
            evaluate.draw(
                pipeline,
                captions,
                evaluate.Drawing(side=side, steps=steps, guidance=guidance),
            )
        )
        for side in _SIDES
    ]
    width = sum(_SIDES) + _GAP * (len(_SIDES) + 1)
    height = max(_SIDES) + _TEXT_HEIGHT + _GAP
    rows = -(-_CAPTIONS // _COLUMNS)
    paper = Image.new("RGB", (width * _COLUMNS, height * rows), "white")
    pen = ImageDraw.Draw(paper)
    for number, scene in enumerate(scenes):
        x, y = number % _COLUMNS * width + _GAP, number // _COLUMNS * height + _GAP
        pen.multiline_text(
            (x, y + max(_SIDES) + 2), "\n".join(wrap(scene.caption, _LETTERS_A_LINE)), fill="black"
        )
        for pictures in by_side:
            picture = pictures[number]
            side = len(picture)
            box = (x - 1, y - 1, x + side, y + side)
            pen.rectangle(box, outline="#cccccc" if judge(picture, scene).holds else "#e00000")
            paper.paste(Image.fromarray(np.asarray(picture)), (x, y))
            x += side + _GAP
    paper.save(path, optimize=True)
