"""Which pictures the demo asks for: fixed prompts and seeds, several sizes. Pure.

The prompts are captions as the model `shapes` knows them (docs/shapes.md). All but that of `pair`
are ones that training never saw. The seeds are ones with which the model draws what it is asked;
how often it does with any seed, that page says.
"""

from __future__ import annotations

from dataclasses import dataclass

from tridentserve.client import Request

STEPS = 20
GUIDANCE = 6.0
"""Of every picture: what the model's folder says of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One picture. Everything is said, so that nothing is left to a default of either side."""

    name: str
    """A plain word; the file is named after it."""
    prompt: str
    height: int
    width: int
    steps: int
    guidance: float
    seed: int

    @property
    def file_name(self) -> str:
        """Of its PNG."""
        return f"{self.name}-{self.width}x{self.height}.png"

    @property
    def request(self) -> Request:
        """What the router is asked."""
        return Request(
            prompt=self.prompt,
            height=self.height,
            width=self.width,
            steps=self.steps,
            guidance=self.guidance,
            seed=self.seed,
        )


def _job(name: str, side: int, seed: int, prompt: str) -> Job:
    return Job(
        name=name,
        prompt=prompt,
        height=side,
        width=side,
        steps=STEPS,
        guidance=GUIDANCE,
        seed=seed,
    )


# A large one first, so that those after it find its worker busy.
JOBS = (
    _job("grass", 128, 3, "a small green triangle"),
    _job("pair", 64, 1, "a green triangle left of a yellow circle"),
    _job("night", 96, 1, "a large blue triangle on a black background"),
    _job(
        *("row", 64, 3),
        "a large green triangle right of a blue triangle right of a small yellow circle"
        " on a white background",
    ),
    _job(
        *("snow", 128, 1),
        "a large purple circle below a red square below a large purple square"
        " on a white background",
    ),
    _job(
        *("stack", 64, 2),
        "a red triangle below a small blue triangle below a small yellow square"
        " on a black background",
    ),
    _job(
        *("sun", 96, 1),
        "a large purple triangle above a large yellow circle on a white background",
    ),
    _job("pond", 64, 3, "a large blue circle below an orange square on a white background"),
)
"""Everything that is drawn; file names differ from one to the next."""

SHOWN = JOBS[1]
"""The one that people are told to ask for themselves."""
