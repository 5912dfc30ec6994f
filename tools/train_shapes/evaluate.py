"""Judges a model folder by what diffusers' pipeline draws for captions that training never saw.

Three tables by size of picture: what the model draws; the same pictures against one another's
captions, which shows what chance gives; and pictures drawn by `render`, which shows what the judge
itself gets wrong.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from train_shapes.judge import Table, judge, tally
from train_shapes.render import Pixels, arrange, render_batch
from train_shapes.scenes import Scene, held_out_scenes

_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How pictures are asked for."""

    side: int
    steps: int
    guidance: float
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The three tables of one size."""

    drawing: Drawing
    drawn: Table
    shuffled: Table
    rendered: Table

    def __str__(self) -> str:
        """A table in Markdown, in percent."""
        lines = ["| part of the caption | of | drawn | others' captions | rendered |"]
        lines.append("| --- | ---: | ---: | ---: | ---: |")
        for rate in self.drawn.rates:
            tables = (self.drawn, self.shuffled, self.rendered)
            percents = " | ".join(f"{table[rate.part].percent:.1f}" for table in tables)
            lines.append(f"| {rate.part} | {rate.asked} | {percents} |")
        return "\n".join(lines)


def load(folder: Path) -> Any:
    """The pipeline of a model folder."""
    import torch
    from diffusers import StableDiffusion3Pipeline

    pipeline = StableDiffusion3Pipeline.from_pretrained(
        str(folder), text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, captions: Sequence[str], drawing: Drawing) -> Iterator[Pixels]:
    """Pictures of captions, [side, side, 3] each; the n-th has the n-th seed."""
    import torch

    for start in range(0, len(captions), _AT_ONCE):
        some = list(captions[start : start + _AT_ONCE])
        yield from (
            (
                pipeline(
                    prompt=some,
                    height=drawing.side,
                    width=drawing.side,
                    num_inference_steps=drawing.steps,
                    guidance_scale=drawing.guidance,
                    generator=[
                        torch.Generator().manual_seed(drawing.seed + start + number)
                        for number in range(len(some))
                    ],
                    output_type="np",
                ).images
                * 255
            )
            .round()
            .astype("uint8")
        )


def report(pipeline: Any, scenes: Sequence[Scene], drawing: Drawing) -> Report:
    """Draw and judge."""
    captions = [scene.caption for scene in scenes]
    pictures = list(
        tqdm(draw(pipeline, captions, drawing), total=len(scenes), desc=f"{drawing.side} px")
    )
    rng = random.Random(drawing.seed)
    rendered = render_batch([arrange(scene, rng) for scene in scenes], drawing.side)
    others = [*scenes[1:], scenes[0]]
    return Report(
        drawing=drawing,
        drawn=_table(pictures, scenes),
        shuffled=_table(pictures, others),
        rendered=_table(list(rendered), scenes),
    )


def _table(pictures: Sequence[Pixels], scenes: Sequence[Scene]) -> Table:
    return tally([judge(picture, scene) for picture, scene in zip(pictures, scenes, strict=True)])


def held_out(count: int) -> tuple[Scene, ...]:
    """The captions of the evaluation, always the same."""
    return held_out_scenes(1, count)
