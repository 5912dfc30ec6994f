"""What a stage is asked to do: a request's parameters, and the key of what may run together."""

from dataclasses import dataclass

from tridentserve.domain.ids import ContentDigest, PipelineName, RequestId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkKey:
    """What must be equal for two requests to run in one batch.

    Steps, adapters and the number of pictures are not part of it: step-level batching can mix
    them. In v1 a worker that runs whole stages also asks for equal steps.
    """

    digest: ContentDigest
    """Content of the model; empty while a request waits for its first worker."""
    variant: str = ""
    task: str = "generate"
    shape: Shape
    guidance: float


def pictures(stage: Stage, count: int) -> int:
    """Pictures that a call of a stage makes of a request for `count`: its batch, as costs count.

    All share what encode made of the prompt.
    """
    return 1 if stage is Stage.ENCODE else count


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a user asks for, checked and with every default filled in."""

    prompt: str
    negative_prompt: str
    shape: Shape
    steps: int
    guidance: float
    seed: int
    count: int
    output_format: str
    """Mime type of the media, `image/png` for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A generation on its way: who it is, since when, until when."""

    id: RequestId
    pipeline: PipelineName
    generation: Generation
    arrived_s: float
    """Unix time of admission."""
    deadline_s: float | None
    """Unix time at which it should be done (soft); None leaves the choice to the SLO."""

    def work_key(self, digest: ContentDigest) -> WorkKey:
        """The key under which workers that hold `digest` may batch it."""
        return WorkKey(
            digest=digest, shape=self.generation.shape, guidance=self.generation.guidance
        )
