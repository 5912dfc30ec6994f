"""Which pictures the demo asks for: fixed prompts, several sizes, seeds of their own. Pure.

The prompts are captions as the model `shapes` knows them (docs/shapes.md). The first may have been
trained on; of all others, training never saw those things together. The seeds are ones with which
the model draws what it is asked; how often it does with any seed, that page says.
"""

from __future__ import annotations

from dataclasses import dataclass

from tridentserve.client import Request

STEPS = 20
GUIDANCE = 2.5
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
    _job("pair", 128, 1, "a green triangle left of a yellow circle"),
    _job("dot", 64, 2, "a small red circle on a white background"),
    _job(
        *("stack", 96, 3),
        "a large purple circle below a large red triangle below a small blue square",
    ),
    _job(
        *("gray", 128, 4),
        "a large orange square above a large blue circle on a gray background",
    ),
    _job(
        *("row", 96, 5),
        "a small blue circle left of a small red square left of a large orange circle"
        " on a black background",
    ),
    _job(
        *("night", 64, 6),
        "a yellow square right of a small purple circle on a black background",
    ),
    _job("moon", 96, 7, "a large yellow circle on a black background"),
    _job(
        *("tower", 128, 8),
        "a large red triangle above an orange triangle above a blue circle on a white background",
    ),
)
"""Everything that is drawn; file names and seeds differ from one to the next."""
