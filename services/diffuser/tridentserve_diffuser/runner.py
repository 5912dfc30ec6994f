"""The diffuse stage of a diffusers model: embeddings in, many steps, latents out."""

from collections.abc import Sequence

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part
from tridentserve.stage.runner import Output, Progress, StageRunner, Task
from tridentserve.stage.settings import StageSettings


class DiffuseRunner:
    """See `StageRunner`."""

    stage = Stage.DIFFUSE
    strategies = (SINGLE,)

    def __init__(self, part: Part) -> None:
        """Run this part."""
        self._part = part

    @property
    def model(self) -> ModelInfo:
        """The model it belongs to."""
        return self._part.info

    def check(self) -> None:
        """Compute something small; see `StageRunner.check`."""
        self._part.check_device()

    def run(self, tasks: Sequence[Task], strategy: Strategy, progress: Progress) -> list[Output]:
        """Denoise in one call, telling each step; see `StageRunner.run`."""
        latents = self._part.diffuse(
            [task.generation for task in tasks], [task.inputs for task in tasks], progress
        )
        return [Output(tensors=tensors) for tensors in latents]


def load(settings: StageSettings) -> StageRunner:
    """Load the transformer and scheduler of the settings' model, and nothing else.

    Raises:
        InvalidFieldError: the model cannot be served, and what would have to change.
    """
    options = LoadOptions(
        dtype=settings.dtype,
        threads=settings.threads,
        device="cuda" if settings.on_gpu else "cpu",
    )
    return DiffuseRunner(Part(settings.model_dir, Stage.DIFFUSE, options))
