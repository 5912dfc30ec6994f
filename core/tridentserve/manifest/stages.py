"""What a user asks of each of the three stages."""

from itertools import pairwise

from pydantic import Field

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.pipeline import StageSpec
from tridentserve.domain.stages import Stage as StageName
from tridentserve.manifest.base import ApiObject, Percent, Rule
from tridentserve.manifest.template import Template


class Replicas(ApiObject):
    """How many workers a stage may have."""

    rules = (
        Rule(
            cel="self.min <= self.max",
            message="must not be more than max, which is 4 where it is left out",
            field=".min",
            holds=lambda self: self.min <= self.max,
        ),
    )

    min: int = Field(default=1, ge=1, le=1000, description="Workers that are there without load.")
    max: int = Field(default=4, ge=1, le=1000, description="Workers that are never exceeded.")


def _count_fits(gpu: "Gpu") -> bool:
    return (gpu.count >= 1) == (gpu.sharing is Sharing.EXCLUSIVE)


class Gpu(ApiObject):
    """How workers of a stage get at GPUs."""

    rules = (
        Rule(
            cel="(self.count >= 1) == (self.sharing == 'Exclusive')",
            message="must be at least 1 where sharing is Exclusive, and 0 where it is None",
            field=".count",
            holds=_count_fits,
        ),
        Rule(
            cel="self.fractionsPercent.all(f, self.fractionsPercent.filter(g, g <= f).size()"
            " == self.fractionsPercent.indexOf(f) + 1)",
            message="must ascend, each value once",
            field=".fractionsPercent",
            holds=lambda self: all(a < b for a, b in pairwise(self.fractions_percent)),
        ),
        Rule(
            cel="self.sharing != 'Exclusive' || self.fractionsPercent == [100]",
            message="must be [100] where sharing is Exclusive, which gives whole GPUs",
            field=".fractionsPercent",
            holds=lambda self: (
                self.sharing is not Sharing.EXCLUSIVE or self.fractions_percent == (100,)
            ),
        ),
    )

    sharing: Sharing = Field(
        default=Sharing.NONE,
        description="None: no GPU, a fraction is a share of processor cores."
        " Exclusive: whole GPUs, each held by one worker.",
    )
    count: int = Field(
        default=0, ge=0, le=16, description="GPUs that a worker holds; 0 where sharing is None."
    )
    fractions_percent: tuple[Percent, ...] = Field(
        default=(100,),
        min_length=1,
        max_length=16,
        description="Sizes of a worker that the planner may choose from, ascending; 100 is a whole"
        " GPU, or the processor cores that the operator counts as one unit.",
    )


class Batching(ApiObject):
    """How a worker gathers requests of the same kind."""

    max_size: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Requests in one call at most. Results of larger batches differ from single"
        " ones in their last bits.",
    )
    max_wait_milliseconds: int = Field(
        default=5,
        ge=0,
        le=10000,
        description="How long a request waits for others, in milliseconds.",
    )


class Stage(ApiObject):
    """One stage: its workers, their devices and their pods."""

    rules = (
        Rule(
            cel="self.gpu.sharing != 'None' || !has(self.template.resources) ||"
            " (!(has(self.template.resources.limits) && 'cpu' in self.template.resources.limits)"
            " && !(has(self.template.resources.requests)"
            " && 'cpu' in self.template.resources.requests))",
            message="must not name cpu where gpu.sharing is None: gpu.fractionsPercent decides it",
            field=".template.resources",
            holds=lambda self: (
                self.gpu.sharing is not Sharing.NONE
                or self.template.resources is None
                or "cpu" not in self.template.resources.names
            ),
        ),
    )

    replicas: Replicas = Field(default=Replicas(), description="How many workers.")
    gpu: Gpu = Field(default=Gpu(), description="How the workers get at GPUs.")
    batching: Batching = Field(
        default=Batching(), description="How a worker gathers requests of the same kind."
    )
    template: Template = Field(default=Template(), description="Laid over the stage's pods.")

    def to_domain(self, stage: StageName) -> StageSpec:
        """What deciders need of it."""
        return StageSpec(
            stage=stage,
            min_replicas=self.replicas.min,
            max_replicas=self.replicas.max,
            sharing=self.gpu.sharing,
            devices_per_worker=self.gpu.count,
            fractions_percent=self.gpu.fractions_percent,
            batch_max_size=self.batching.max_size,
            batch_max_wait_s=self.batching.max_wait_milliseconds / 1000,
        )


class Stages(ApiObject):
    """All three stages; each is there, with defaults where nothing is said."""

    encode: Stage = Field(default=Stage(), description="Prompt to embeddings.")
    diffuse: Stage = Field(default=Stage(), description="Noise to latents, step by step.")
    decode: Stage = Field(default=Stage(), description="Latents to pictures.")

    def items(self) -> tuple[tuple[StageName, Stage], ...]:
        """Every stage with its name, in order."""
        return (
            (StageName.ENCODE, self.encode),
            (StageName.DIFFUSE, self.diffuse),
            (StageName.DECODE, self.decode),
        )
