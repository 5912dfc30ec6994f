"""What a stage costs: the answer of the cost model, and the measurements behind it.

A profile is data with its source. What it derives from assumptions it names, so that a conclusion
can be tried against other values of them. It predicts nothing: `planner.cost` does.
"""

from dataclasses import dataclass

from tridentserve.domain.architecture import Architecture
from tridentserve.domain.fractions import Interference, Saturation
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Predicted time and memory of one call."""

    mean_s: float
    q90_s: float
    peak_bytes: int
    """On each of its devices beside the weights; 0 where nobody knows."""
    confidence: float
    """0 is a guess, 1 is measured often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured cell of a profile: seconds = fixed + steps x per step."""

    stage: Stage
    shape: Shape
    fixed_s: float
    """Set-up and tail of a call; all of it for stages without steps."""
    step_s: float = 0.0
    """0 for stages without steps. Both branches of guidance are in it where `Profile.guided`."""
    fraction_percent: int = 100
    batch: int = 1
    """Pictures that the call makes, of one request or of several."""
    strategy: Strategy = SINGLE
    """Degree k of the published tables is `Strategy(ulysses=k)`."""
    peak_bytes: int = 0
    """On each of its devices beside the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A figure that nobody published: what was taken instead, and why."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What connects the devices of one group; groups do not span nodes."""

    bytes_per_s: float
    latency_s: float
    """Of one collective operation, its launch included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Named measurements of a pipeline, with where they come from."""

    name: str
    source: str
    samples: tuple[Sample, ...]
    steps: int = 20
    """Steps of a usual request, for who needs the seconds of the whole stage."""
    guided: bool = False
    """True where every step runs the transformer twice, with the prompt and without
    (classifier-free guidance: SD3, CogVideoX), False where guidance is an input of it (FLUX,
    HunyuanVideo). The samples hold the whole step, so nothing is to be doubled."""
    architecture: Architecture | None = None
    """None where only volumes can be compared."""
    weights_bytes: tuple[tuple[Stage, int], ...] = ()
    device_memory_bytes: int = 0
    usable_bytes: int = 0
    """What weights and peaks may take of a device; 0 where nobody knows."""
    link: Link | None = None
    first_shape_s: tuple[tuple[Stage, float], ...] = ()
    """Seconds more when a worker meets a shape for the first time."""
    best_batch: tuple[tuple[int, int], ...] = ()
    """Pixels and the batch size that still pays at them (paper section 1.11); pictures only."""
    saturation: tuple[tuple[Stage, Saturation], ...] = ()
    interference: tuple[Interference, ...] = ()
    assumptions: tuple[Assumption, ...] = ()

    @property
    def branches(self) -> int:
        """Passes of the transformer in one step."""
        return 2 if self.guided else 1

    def weights(self, stage: Stage) -> int:
        """Bytes of a stage's weights on every device that holds it; 0 where nobody knows."""
        return dict(self.weights_bytes).get(stage, 0)

    def handoff_bytes(self, stage: Stage, shape: Shape) -> int:
        """What a stage hands to the next one: text embeddings, latents; nothing after decode.

        0 as well where the architecture is unknown.
        """
        if self.architecture is None or stage is Stage.DECODE:
            return 0
        if stage is Stage.ENCODE:
            return self.architecture.embedding_bytes(self.branches)
        return self.architecture.latent_bytes(shape)

    def best_batch_of(self, shape: Shape) -> int:
        """The batch size that still pays: that of the nearest number of pixels; 1 for videos."""
        if shape.frames > 1 or not self.best_batch:
            return 1
        return min(self.best_batch, key=lambda one: (abs(one[0] - shape.pixels), one[0]))[1]

    def assumption(self, name: str) -> float:
        """The value of an assumption.

        Raises:
            KeyError: the profile does not rest on it.
        """
        return {one.name: one.value for one in self.assumptions}[name]
