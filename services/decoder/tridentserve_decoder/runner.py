"""The decode stage of a diffusers model: latents in, pictures out."""

from collections.abc import Sequence

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part
from tridentserve.families.pictures import PNG
from tridentserve.stage.runner import Media, Output, Progress, StageRunner, Task
from tridentserve.stage.settings import StageSettings


class DecodeRunner:
    """See `StageRunner`."""

    stage = Stage.DECODE
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
        """Decode in one call; see `StageRunner.run`."""
        files = self._part.decode(
            [task.generation for task in tasks], [task.inputs for task in tasks]
        )
        return [
            Output(tensors={}, media=tuple(Media(mime_type=PNG, data=file) for file in of_one))
            for of_one in files
        ]


def load(settings: StageSettings) -> StageRunner:
    """Load the VAE of the settings' model, and nothing else.

    Raises:
        InvalidFieldError: the model cannot be served, and what would have to change.
    """
    options = LoadOptions(
        dtype=settings.dtype,
        threads=settings.threads,
        device="cuda" if settings.on_gpu else "cpu",
    )
    return DecodeRunner(Part(settings.model_dir, Stage.DECODE, options))
