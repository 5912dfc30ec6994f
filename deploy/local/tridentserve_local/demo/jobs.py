"""Which pictures the demo asks for: fixed prompts, several sizes, seeds of their own. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tridentserve.client import Request


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


_PROMPTS = (
    ("fox", "a fox in the snow"),
    ("harbour", "a harbour at dawn, oil on canvas"),
    ("teapot", "a blue teapot on a red table"),
    ("comet", "a comet over a wheat field"),
    ("library", "a library with a spiral staircase"),
    ("heron", "a heron in the reeds, woodcut"),
    ("lighthouse", "a lighthouse in a storm"),
    ("marble", "a glass marble on wet stone"),
)
_SIZES = ((256, 256), (128, 128), (128, 256), (256, 128), (192, 192), (64, 64))
"""Height and width; the largest first, so that those after it find its worker busy."""


def jobs(count: int = len(_PROMPTS)) -> tuple[Job, ...]:
    """The first `count` pictures; names and seeds differ from one to the next.

    >>> [job.file_name for job in jobs(2)]
    ['fox-256x256.png', 'harbour-128x128.png']
    """
    chosen = []
    for number in range(count):
        name, prompt = _PROMPTS[number % len(_PROMPTS)]
        turn = number // len(_PROMPTS)
        height, width = _SIZES[number % len(_SIZES)]
        chosen.append(
            Job(
                name=f"{name}{turn + 1}" if turn else name,
                prompt=prompt,
                height=height,
                width=width,
                steps=8 + 2 * (number % 3),
                guidance=5.0,
                seed=100 + number,
            )
        )
    return tuple(chosen)
